//! A value to a definition: which kind it is, what it is called, and its typed form.

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    node,
    object::{Fault, Found, Key, Kind, STAYS},
    pod, service, slice,
};
use crate::{model::ObjectRef, settings::quoted};

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// An object that is read, and what is wrong with parts of it.
    Defined(Key, Found, Vec<Fault>),
    /// Empty, or of a kind that is none of this source's business.
    Ignored,
    /// Nothing, and told: of a kind or version that nobody reads, or odd without an effect.
    Told(Fault),
    /// No telling which object this is meant to be.
    Nameless(Fault),
}

/// Decodes one value.
pub fn decode(value: Value) -> Decoded {
    if value.is_null() {
        return Decoded::Ignored;
    }
    if !value.is_object() {
        let message = format!("not a Kubernetes object, which has a kind and metadata; {STAYS}");
        return Decoded::Nameless(Fault::new("", message));
    }
    let Some(kind) = text(&value, "kind").map(str::to_owned) else {
        let message = format!("missing or no text: write the kind, such as Service; {STAYS}");
        return Decoded::Nameless(Fault::new("kind", message));
    };
    let version = text(&value, "apiVersion").unwrap_or_default().to_owned();
    match (kind.as_str(), version.as_str()) {
        ("Service", "v1") => named(value, Kind::Service, |value, id| {
            Ok(service::convert(typed::<core::Service>(value)?, id))
        }),
        ("EndpointSlice", "discovery.k8s.io/v1") => {
            named(value, Kind::EndpointSlice, |value, id| {
                Ok(slice::convert(typed::<discovery::EndpointSlice>(value)?, id))
            })
        }
        ("Node", "v1") => named(value, Kind::Node, |value, id| {
            Ok(node::convert(typed::<core::Node>(value)?, &id.name))
        }),
        ("Pod", "v1") => {
            named(value, Kind::Pod, |value, id| Ok(pod::convert(typed::<core::Pod>(value)?, id)))
        }
        ("Namespace", "v1") => named(value, Kind::Namespace, |value, id| {
            Ok(pod::convert_namespace(&typed::<core::Namespace>(value)?, &id.name))
        }),
        ("Service" | "Node" | "Pod" | "Namespace", "") => {
            let kind = match kind.as_str() {
                "Service" => Kind::Service,
                "Node" => Kind::Node,
                "Pod" => Kind::Pod,
                _ => Kind::Namespace,
            };
            named(value, kind, |_, _| Err(unversioned("v1", "")))
        }
        ("EndpointSlice", old) if old.is_empty() || old.starts_with("discovery.k8s.io/") => {
            named(value, Kind::EndpointSlice, |_, _| Err(unversioned("discovery.k8s.io/v1", old)))
        }
        _ => Decoded::Told(foreign(&kind, &version)),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str().filter(|text| !text.is_empty())
}

fn unversioned(wanted: &str, found: &str) -> Fault {
    let found =
        if found.is_empty() { "missing".to_owned() } else { format!("{found} is not read") };
    Fault::new(
        "apiVersion",
        format!(
            "{found}: write {wanted} (kubectl get -o yaml gives it so); the object stays as this \
             file defined it before, or is not balanced"
        ),
    )
}

fn foreign(kind: &str, version: &str) -> Fault {
    let remedy = match kind {
        "Endpoints" => "give its EndpointSlices instead",
        "List" => "write the items of a List inside a List directly",
        _ => {
            "only Service, Node, Pod and Namespace (v1) and EndpointSlice (discovery.k8s.io/v1) \
             are; move it elsewhere"
        }
    };
    let of = if version.is_empty() { String::new() } else { format!(" of {version}") };
    Fault::new("kind", format!("{kind}{of} is not read and is ignored: {remedy}"))
}

/// Finds the name first: an object that can't be decoded stays as it was, if its name is known.
fn named(
    mut value: Value,
    kind: Kind,
    convert: impl FnOnce(Value, &ObjectRef) -> Result<(Found, Vec<Fault>), Fault>,
) -> Decoded {
    let id = match identify(&value) {
        Ok(id) if !kind.is_namespaced() => ObjectRef { namespace: String::new(), ..id },
        Ok(id) => id,
        Err(fault) => return Decoded::Nameless(fault),
    };
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        // Often the larger half of an object, and never read.
        metadata.remove("managedFields");
    }
    fill_texts(&mut value);
    let (found, faults) = match convert(value, &id) {
        Ok(converted) => converted,
        Err(fault) => (Found::Undecodable, vec![fault]),
    };
    Decoded::Defined(Key { kind, id }, found, faults)
}

/// Maps of texts, in which null is the empty text for the API server.
const TEXTS: [&str; 4] =
    ["/metadata/annotations", "/metadata/labels", "/spec/nodeSelector", "/spec/selector"];

fn fill_texts(value: &mut Value) {
    for path in TEXTS {
        let entries = value.pointer_mut(path).and_then(Value::as_object_mut);
        for entry in entries.into_iter().flat_map(Map::values_mut).filter(|entry| entry.is_null()) {
            *entry = Value::String(String::new());
        }
    }
}

fn identify(value: &Value) -> Result<ObjectRef, Fault> {
    let metadata = value.get("metadata");
    let part = |field: &str, default: Option<&str>| {
        let path = format!("metadata.{field}");
        match (metadata.and_then(|metadata| metadata.get(field)), default) {
            (None | Some(Value::Null), Some(default)) => Ok(default.to_owned()),
            (Some(Value::String(text)), Some(default)) if text.is_empty() => Ok(default.to_owned()),
            (Some(Value::String(text)), _) if is_name(text) => Ok(text.clone()),
            (Some(Value::String(text)), _) => Err(Fault::new(
                path,
                format!(
                    "{text} is no name: use a-z, 0-9, '-' and '.', at most 253; {STAYS}",
                    text = quoted(text)
                ),
            )),
            (None | Some(Value::Null), None) => {
                Err(Fault::new(path, format!("missing: give the object a name; {STAYS}")))
            }
            (Some(_), _) => Err(Fault::new(path, format!("no text: put it in quotes; {STAYS}"))),
        }
    };
    Ok(ObjectRef { namespace: part("namespace", Some("default"))?, name: part("name", None)? })
}

/// A DNS subdomain (RFC 1123), as the API server demands.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253 && text.chars().all(inner) && text.starts_with(outer) && text.ends_with(outer)
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Fault::new(
            field,
            format!(
                "{}; the object stays as this file defined it before, or is not balanced, until \
                 it is mended",
                error.into_inner()
            ),
        )
    })
}
