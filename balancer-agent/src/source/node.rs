//! A Node of the API to a Node of the model.

use k8s_openapi::api::core::v1 as core;

use super::{
    address::addresses,
    object::{Fault, Faults, Found},
};
use crate::model::Node;

const ZONE: &str = "topology.kubernetes.io/zone";
/// What the cluster autoscaler puts on a Node before it removes it (KEP-3836).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// The Node as far as it is usable, and what is not.
pub fn convert(object: core::Node, name: &str) -> (Found, Vec<Fault>) {
    let mut faults = Faults::default();
    let taints = object.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let leaving = object.metadata.deletion_timestamp.is_some()
        || taints.iter().any(|taint| taint.key == TO_BE_DELETED);
    let listed = object.status.unwrap_or_default().addresses.unwrap_or_default();
    let of_type = |wanted: &'static str| {
        let entries = listed.iter().enumerate().filter(move |(_, entry)| entry.type_ == wanted);
        entries.map(|(index, entry)| {
            (format!("status.addresses[{index}].address"), entry.address.as_str())
        })
    };
    let ips = of_type("InternalIP").chain(of_type("ExternalIP"));
    let mut addresses = addresses(ips, &mut faults);
    // The loopback is no address of the node to anybody else, and answers for itself.
    addresses.retain(|ip| !ip.is_loopback());
    let zone = object.metadata.labels.and_then(|mut labels| labels.remove(ZONE));
    let zone = zone.filter(|zone| !zone.is_empty());
    (
        Found::Node(
            Node { name: name.to_owned(), zone, addresses, leaving, is_known: true }.into(),
        ),
        faults.into_told(),
    )
}
