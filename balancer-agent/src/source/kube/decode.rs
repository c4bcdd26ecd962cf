//! The text of an object to the types of the model.

use std::{mem, time::Instant};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    model::ObjectRef,
    source::{
        node,
        object::{Fault, Found, Key, Kind},
        pod, service, slice,
    },
};

/// What is needed of every object, even of one that can't be decoded.
#[derive(Deserialize)]
struct Head {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    uid: String,
}

/// An object as far as it is usable.
#[derive(Debug)]
pub struct Decoded {
    /// When its text was there.
    pub arrived: Instant,
    pub key: Key,
    /// `metadata.uid`; empty where there is none.
    pub uid: String,
    /// `metadata.resourceVersion`; empty where there is none.
    pub version: String,
    pub found: Found,
    pub faults: Vec<Fault>,
}

/// Which object a text is and at which version, without the rest of it.
pub fn identify(kind: Kind, text: &str) -> Result<(Key, String), serde_json::Error> {
    let (key, metadata) = head(kind, text)?;
    Ok((key, metadata.resource_version))
}

fn head(kind: Kind, text: &str) -> Result<(Key, Metadata), serde_json::Error> {
    let Head { mut metadata } = serde_json::from_str(text)?;
    let (namespace, name) = (&mut metadata.namespace, &mut metadata.name);
    let id = ObjectRef { namespace: mem::take(namespace), name: mem::take(name) };
    Ok((Key { kind, id }, metadata))
}

/// Decodes one object.
///
/// # Errors
///
/// Where it has no name: there is no telling which object it is.
pub fn decode(kind: Kind, text: &str) -> Result<Decoded, serde_json::Error> {
    let arrived = Instant::now();
    let (key, Metadata { resource_version: version, uid, .. }) = head(kind, text)?;
    let converted = match kind {
        Kind::Service => typed::<core::Service>(text).map(|o| service::convert(o, &key.id)),
        Kind::EndpointSlice | Kind::PeerSlice => {
            typed::<discovery::EndpointSlice>(text).map(|o| slice::convert(o, &key.id))
        }
        Kind::Node => typed::<core::Node>(text).map(|o| node::convert(o, &key.id.name)),
        Kind::Pod => typed::<core::Pod>(text).map(|o| pod::convert(o, &key.id)),
        Kind::Namespace => {
            typed::<core::Namespace>(text).map(|o| pod::convert_namespace(&o, &key.id.name))
        }
    };
    let (found, faults) = converted.unwrap_or_else(|fault| (Found::Undecodable, vec![fault]));
    Ok(Decoded { arrived, key, uid, version, found, faults })
}

fn typed<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    // Paths cost time: they are asked for where there is something to tell.
    serde_json::from_str(text).or_else(|_| {
        let deserializer = &mut serde_json::Deserializer::from_str(text);
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let path = error.path().to_string();
            let field = if path == "." { String::new() } else { path };
            let message = format!(
                "{}; the object stays as it was last understood, or is not balanced, until it is \
                 mended",
                error.into_inner()
            );
            Fault::new(field, message)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absurd_is_named_and_known_by_name() {
        let text = json!({
            "kind": "Service",
            "metadata": {"name": "a", "namespace": "n", "resourceVersion": "7"},
            "spec": {"clusterIP": "10.96.0.1", "ports": "many"},
        });
        let decoded = decode(Kind::Service, &text.to_string()).expect("it has a name");
        assert_eq!(decoded.key.to_string(), "Service n/a");
        assert_eq!((decoded.version.as_str(), &decoded.found), ("7", &Found::Undecodable));
        assert_eq!(decoded.faults.len(), 1);
        assert_eq!(decoded.faults[0].field, "spec.ports");
        assert!(decoded.faults[0].message.contains("stays as it was"), "{decoded:?}");
    }

    #[test]
    fn an_object_without_a_name_is_an_error() {
        for text in ["{}", "{\"metadata\": {}}", "[]", "7"] {
            assert!(decode(Kind::Node, text).is_err(), "{text}");
        }
    }
}
