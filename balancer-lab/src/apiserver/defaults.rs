//! What the server fills in.

use serde_json::{Map, Value, json};

use super::{
    kinds::{self, Kind},
    store::Store,
};

/// Gives a new object its identity.
pub fn identify(metadata: &mut Map<String, Value>) {
    let bits = rand::random::<u128>();
    let hex = format!("{bits:032x}");
    let uid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    metadata.insert("uid".to_owned(), json!(uid));
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    metadata.insert("creationTimestamp".to_owned(), json!(now));
}

/// Fills in the fields that clients of these kinds rely on.
pub fn complete(store: &Store, kind: &Kind, object: &mut Value) {
    match kind.kind {
        "Service" => service(store, object),
        "Namespace" => {
            fill(object, "status", json!({"phase": "Active"}));
            fill(object, "spec", json!({"finalizers": ["kubernetes"]}));
        }
        _ => {}
    }
}

fn service(store: &Store, object: &mut Value) {
    fill(object, "status", json!({"loadBalancer": {}}));
    fill(object, "spec", json!({}));
    let spec = &mut object["spec"];
    fill(spec, "type", json!("ClusterIP"));
    fill(spec, "sessionAffinity", json!("None"));
    if spec["type"] == "ExternalName" {
        return;
    }
    fill(spec, "internalTrafficPolicy", json!("Cluster"));
    if spec["clusterIP"].as_str().is_none_or(str::is_empty) {
        spec["clusterIP"] = json!(free_address(store));
    }
    let first = spec["clusterIP"].clone();
    fill(spec, "clusterIPs", json!([first]));
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        fill(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        fill(port, "targetPort", number);
    }
}

/// An address of 10.96.0.0/16 that no Service has.
fn free_address(store: &Store) -> String {
    let services = kinds::of_url("", "v1", "services").map(|kind| store.at(kind, store.version()));
    let taken: Vec<Value> = (services.and_then(Result::ok).unwrap_or_default().iter())
        .map(|service| service["spec"]["clusterIP"].clone())
        .collect();
    (10_u16..u16::MAX)
        .map(|number| format!("10.96.{}.{}", number >> 8, number & 0xff))
        .find(|address| !taken.iter().any(|ip| ip == address.as_str()))
        .unwrap_or_default()
}

fn fill(object: &mut Value, field: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.entry(field).or_insert(value);
    }
}
