//! Pods and Namespaces of the API to those of the model.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::{
    address::addresses,
    object::{Fault, Faults, Found},
};
use crate::{
    model::{Namespace, ObjectRef, Pod},
    settings::quoted,
};

/// The label that takes the sockets of a pod, or of all pods of a namespace, away from balancer.
const ENABLED: &str = "balancer-agent/enabled";
/// The uid by which kubelet knows a pod of its own folder: its object in the API has another one.
const STATIC_UID: &str = "kubernetes.io/config.mirror";

/// The Pod as far as it is usable, and what is not.
pub fn convert(object: core::Pod, id: &ObjectRef) -> (Found, Vec<Fault>) {
    let mut faults = Faults::default();
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let (Some(node), false) = (spec.node_name.filter(|node| !node.is_empty()), has_ended) else {
        return (Found::Skipped, faults.into_told());
    };
    let static_uid = object.metadata.annotations.and_then(|mut all| all.remove(STATIC_UID));
    let Some(uid) = static_uid.or(object.metadata.uid).filter(|uid| !uid.is_empty()) else {
        let message = "missing: the sockets of this pod can't be told from others, and its label is \
                       ignored; kubectl get -o yaml gives the uid";
        return (Found::Skipped, vec![Fault::new("metadata.uid", message)]);
    };
    let several = status.pod_ips.unwrap_or_default().into_iter().enumerate();
    let mut ips: Vec<_> =
        several.map(|(index, ip)| (format!("status.podIPs[{index}].ip"), ip.ip)).collect();
    if let (true, Some(ip)) = (ips.is_empty(), status.pod_ip) {
        ips.push(("status.podIP".to_owned(), ip));
    }
    let ips = ips.iter().filter(|(_, ip)| !ip.is_empty());
    let pod = Pod {
        id: id.clone(),
        uid,
        node,
        addresses: addresses(ips.map(|(field, ip)| (field.clone(), ip.as_str())), &mut faults),
        host_network: spec.host_network.unwrap_or(false),
        enabled: enabled(object.metadata.labels.as_ref(), &mut faults),
        runtime_class: spec.runtime_class_name.filter(|name| !name.is_empty()),
    };
    (Found::Pod(pod.into()), faults.into_told())
}

/// The Namespace as far as it is usable, and what is not.
pub fn convert_namespace(object: &core::Namespace, name: &str) -> (Found, Vec<Fault>) {
    let mut faults = Faults::default();
    let enabled = enabled(object.metadata.labels.as_ref(), &mut faults);
    (Found::Namespace(Namespace { name: name.to_owned(), enabled }.into()), faults.into_told())
}

fn enabled(labels: Option<&BTreeMap<String, String>>, faults: &mut Faults) -> Option<bool> {
    let value = labels?.get(ENABLED)?;
    let enabled = value.parse().ok();
    if enabled.is_none() {
        faults.push(Fault::new(
            format!("metadata.labels[{ENABLED}]"),
            format!(
                "{value} is neither \"true\" nor \"false\": the label is ignored; mend it",
                value = quoted(value)
            ),
        ));
    }
    enabled
}
