//! An EndpointSlice of the API to an EndpointSlice of the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use k8s_openapi::{api::discovery::v1 as discovery, jiff::Timestamp};

use super::{
    address::address,
    object::{Fault, Faults, Found},
    port::{number, protocol},
    service::{is_for_another_proxy, is_headless},
};
use crate::{
    model::{Endpoint, EndpointPort, EndpointSlice, Hints, ObjectRef, Place},
    settings::quoted,
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// When the change was made that the slice follows, as the endpoint controllers note it.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The slice as far as it is usable, and what is not.
pub fn convert(object: discovery::EndpointSlice, id: &ObjectRef) -> (Found, Vec<Fault>) {
    let labels = object.metadata.labels.as_ref();
    if is_for_another_proxy(labels) {
        return (Found::Skipped, Vec::new());
    }
    let headless = is_headless(labels);
    let ipv4 = match object.address_type.as_str() {
        "IPv4" => true,
        "IPv6" => false,
        "FQDN" => return (Found::Skipped, Vec::new()),
        other => {
            let message = format!(
                "{other} is no type: the slice is ignored; write IPv4 or IPv6",
                other = quoted(other)
            );
            return (Found::Skipped, vec![Fault::new("addressType", message)]);
        }
    };
    let Some(service) =
        labels.and_then(|labels| labels.get(SERVICE_NAME)).filter(|s| !s.is_empty())
    else {
        let message = "missing: the slice belongs to no Service and is ignored; add the label with \
                       the name of its Service";
        let field = format!("metadata.labels[{SERVICE_NAME:?}]");
        return (Found::Skipped, vec![Fault::new(field, message)]);
    };
    let mut faults = Faults::default();
    let slice = EndpointSlice {
        id: id.clone(),
        service: service.clone(),
        triggered: triggered(object.metadata.annotations.as_ref()),
        ports: ports(object.ports.unwrap_or_default(), &mut faults),
        endpoints: endpoints(object.endpoints, ipv4, &mut faults),
    };
    if headless {
        return (Found::HeadlessSlice(slice.into()), faults.into_told());
    }
    (Found::Slice(slice.into()), faults.into_told())
}

/// Nothing rests on it but a metric: a time that can't be read is no fault.
fn triggered(annotations: Option<&BTreeMap<String, String>>) -> Option<SystemTime> {
    let time: Timestamp = annotations?.get(TRIGGERED)?.parse().ok()?;
    Some(time.into())
}

fn ports(entries: Vec<discovery::EndpointPort>, faults: &mut Faults) -> Vec<EndpointPort> {
    let mut names = BTreeSet::new();
    let mut ports = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let field = format!("ports[{index}]");
        // No number, or 0, means "no port here", as kube-proxy reads it.
        let Some(port) = entry.port.filter(|port| *port != 0) else { continue };
        match (number(&field, port), protocol(&field, entry.protocol.as_deref())) {
            (Ok(port), Ok(protocol)) => {
                let name = entry.name.unwrap_or_default();
                if names.insert(name.clone()) {
                    ports.push(EndpointPort { name, port, protocol });
                } else {
                    faults.push(Fault::new(
                        format!("{field}.name"),
                        format!(
                            "{name} names an earlier port too: this entry is left out; rename it",
                            name = quoted(&name)
                        ),
                    ));
                }
            }
            (port, protocol) => {
                faults.extend(port.err());
                faults.extend(protocol.err());
            }
        }
    }
    ports
}

fn endpoints(entries: Vec<discovery::Endpoint>, ipv4: bool, faults: &mut Faults) -> Vec<Endpoint> {
    let mut endpoints = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let field = format!("endpoints[{index}].addresses[0]");
        // The API defines the other addresses as the same endpoint.
        let text = entry.addresses.first().map_or("", String::as_str);
        let family = if ipv4 { "IPv4" } else { "IPv6" };
        match address(text) {
            Some(address) if address.is_ipv4() == ipv4 => {
                let conditions = entry.conditions.unwrap_or_default();
                let hints = entry.hints.unwrap_or_default();
                let nodes = hints.for_nodes.into_iter().flatten().map(|hint| hint.name.into());
                let pod = entry.target_ref.filter(|r| r.kind.as_deref() == Some("Pod"));
                let zones = hints.for_zones.into_iter().flatten().map(|hint| hint.name.into());
                let hints = Hints { nodes: nodes.collect(), zones: zones.collect() };
                let node = entry.node_name.map(Into::into);
                let zone = entry.zone.map(Into::into);
                endpoints.push(Endpoint {
                    address,
                    ready: conditions.ready.unwrap_or(true),
                    serving: conditions.serving.unwrap_or(true),
                    terminating: conditions.terminating.unwrap_or(false),
                    place: Place { node, zone }.into(),
                    pod: pod.and_then(|r| r.name).map(|name| name.as_str().into()),
                    hints: (hints != Hints::default()).then(|| hints.into()),
                });
            }
            _ => faults.push(Fault::new(
                field,
                format!(
                    "{text} is no {family} address: this endpoint is left out; mend it",
                    text = quoted(text)
                ),
            )),
        }
    }
    endpoints
}
