//! Creating, replacing, patching and deleting.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Api, defaults,
    kinds::{KINDS, Kind},
    patch,
    status::Refusal,
    store::{Key, key},
};

/// An object's place in a URL.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    fn key(&self) -> Key {
        key(self.kind, &self.namespace, &self.name)
    }

    fn missing(&self) -> Refusal {
        Refusal::not_found(self.kind.plural, &self.name)
    }
}

/// How a patch is meant.
#[derive(Clone, Debug)]
pub enum Patch {
    /// `application/merge-patch+json`
    Merge,
    /// `application/strategic-merge-patch+json`
    Strategic,
    /// `application/apply-patch+yaml`, with the name of the field manager.
    Apply(String),
}

/// POST to a collection.
pub fn create(
    api: &Api,
    kind: &'static Kind,
    namespace: &str,
    mut object: Value,
    dry: bool,
) -> Result<Arc<Value>, Refusal> {
    let metadata = metadata(&mut object)?;
    let text = |metadata: &Map<String, Value>, field: &str| {
        metadata.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut name = text(metadata, "name");
    if name.is_empty() {
        let prefix = text(metadata, "generateName");
        if prefix.is_empty() {
            return Err(Refusal::invalid("metadata.name: Required value: name is required"));
        }
        name = format!("{prefix}{:05x}", rand::random::<u32>() & 0xf_ffff);
    }
    let given = text(metadata, "namespace");
    if kind.namespaced && !given.is_empty() && given != namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let target = Target { kind, namespace: namespace.to_owned(), name };
    let is_there = |key: &Key| api.store().get(key).is_some();
    if kind.namespaced && !is_there(&("", "namespaces", String::new(), namespace.to_owned())) {
        return Err(Refusal::not_found("namespaces", namespace));
    }
    if is_there(&target.key()) {
        return Err(Refusal::exists(kind.plural, &target.name));
    }
    write(api, &target, None, object, dry)
}

/// PUT.
pub fn replace(
    api: &Api,
    target: &Target,
    mut object: Value,
    dry: bool,
) -> Result<Arc<Value>, Refusal> {
    metadata(&mut object)?;
    let before = api.store().get(&target.key()).cloned().ok_or_else(|| target.missing())?;
    write(api, target, Some(&before), object, dry)
}

/// PATCH. Applying creates what is not there.
pub fn patch(
    api: &Api,
    target: &Target,
    how: &Patch,
    change: &Value,
    dry: bool,
) -> Result<Arc<Value>, Refusal> {
    let before = api.store().get(&target.key()).cloned();
    let mut object = before.as_deref().cloned();
    match (how, &mut object) {
        (Patch::Merge, Some(object)) => patch::merge(object, change),
        (Patch::Strategic, Some(object)) => {
            patch::strategic(target.kind.kind, object, change);
        }
        (Patch::Apply(manager), object) => {
            let object = object.get_or_insert_with(|| json!({}));
            let manages = (target.key(), manager.clone());
            let mut applied = api.applied();
            patch::apply(target.kind.kind, object, applied.get(&manages), change);
            if !dry {
                applied.insert(manages, change.clone());
            }
        }
        (_, None) => return Err(target.missing()),
    }
    match (object, before) {
        (Some(object), Some(before)) => write(api, target, Some(&before), object, dry),
        (Some(object), None) => create(api, target.kind, &target.namespace, object, dry),
        (None, _) => Err(target.missing()),
    }
}

/// DELETE; a namespace takes all it holds along.
pub fn delete(api: &Api, target: &Target) -> Result<Arc<Value>, Refusal> {
    if target.kind.plural == "namespaces" {
        for kind in KINDS.iter().filter(|kind| kind.namespaced) {
            let inside: Vec<_> = {
                let store = api.store();
                store.at(kind, store.version()).unwrap_or_default()
            };
            for object in inside.iter().filter(|o| o["metadata"]["namespace"] == *target.name) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                api.change(|store| store.remove(&key(kind, &target.name, name)));
            }
        }
    }
    api.applied().retain(|(key, _), _| *key != target.key());
    api.change(|store| store.remove(&target.key())).ok_or_else(|| target.missing())
}

/// Completes an object and stores it, unless nothing changes.
fn write(
    api: &Api,
    target: &Target,
    before: Option<&Arc<Value>>,
    mut object: Value,
    dry: bool,
) -> Result<Arc<Value>, Refusal> {
    object["kind"] = json!(target.kind.kind);
    object["apiVersion"] = json!(target.kind.api_version());
    let metadata = metadata(&mut object)?;
    metadata.remove("managedFields");
    metadata.insert("name".to_owned(), json!(target.name));
    if target.kind.namespaced {
        metadata.insert("namespace".to_owned(), json!(target.namespace));
    }
    let asked = metadata.remove("resourceVersion").filter(|version| *version != "");
    if let Some(before) = before {
        let kept = &before["metadata"];
        if asked.is_some_and(|asked| asked != kept["resourceVersion"]) {
            return Err(Refusal::conflict(target.kind.plural, &target.name));
        }
        for field in ["uid", "creationTimestamp", "resourceVersion"] {
            metadata.insert(field.to_owned(), kept[field].clone());
        }
    } else {
        defaults::identify(metadata);
    }
    defaults::complete(&api.store(), target.kind, &mut object);
    match before {
        Some(before) if object == **before => Ok(Arc::clone(before)),
        _ if dry => Ok(Arc::new(object)),
        _ => Ok(api.change(|store| store.put(target.key(), object))),
    }
}

fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, Refusal> {
    let body = object.as_object_mut().ok_or_else(|| Refusal::bad_request("not an object"))?;
    body.entry("metadata")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(|| Refusal::bad_request("metadata: not an object"))
}
