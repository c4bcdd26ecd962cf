//! A Node of the API to a Node of the model.

use k8s_openapi::api::core::v1 as core;

use super::{
    address::addresses,
    object::{Fault, Found},
};
use crate::model::Node;

const ZONE: &str = "topology.kubernetes.io/zone";

/// The Node as far as it is usable, and what is not.
pub fn convert(object: core::Node, name: &str) -> (Found, Vec<Fault>) {
    let mut faults = Vec::new();
    let listed = object.status.unwrap_or_default().addresses.unwrap_or_default();
    let ips = listed
        .iter()
        .enumerate()
        .filter(|(_, entry)| matches!(entry.type_.as_str(), "InternalIP" | "ExternalIP"))
        .map(|(index, entry)| {
            (format!("status.addresses[{index}].address"), entry.address.as_str())
        });
    let mut addresses = addresses(ips, &mut faults);
    // The loopback is no address of the node to anybody else, and answers for itself.
    addresses.retain(|ip| !ip.is_loopback());
    let zone = object.metadata.labels.and_then(|mut labels| labels.remove(ZONE));
    let zone = zone.filter(|zone| !zone.is_empty());
    (Found::Node(Node { name: name.to_owned(), zone, addresses }.into()), faults)
}
