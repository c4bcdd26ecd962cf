//! A Service of the API to a Service of the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::core::v1 as core;

use super::object::{Fault, Found};
use crate::model::{ObjectRef, Protocol, Service, ServicePort};

/// Labels that hand an object to another proxy or to nobody, whatever their value.
const OTHER_PROXY: [&str; 2] =
    ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];

/// The Service as far as it is usable, and what is not.
pub fn convert(object: core::Service, id: &ObjectRef) -> (Found, Vec<Fault>) {
    let mut faults = Vec::new();
    let spec = object.spec.unwrap_or_default();
    let is_none = |ip: &String| ip == "None";
    let headless = spec.cluster_ip.as_ref().is_some_and(is_none)
        || spec.cluster_ips.iter().flatten().any(is_none);
    let external_name = spec.type_.as_deref() == Some("ExternalName");
    if headless || external_name || is_for_another_proxy(object.metadata.labels.as_ref()) {
        return (Found::Skipped, faults);
    }
    let cluster_ips = cluster_ips(&spec, &mut faults);
    let ports = ports(spec.ports.unwrap_or_default(), &mut faults);
    (Found::Service(Service { id: id.clone(), cluster_ips, ports }.into()), faults)
}

/// True where the labels say that another proxy, or none, serves the object.
pub fn is_for_another_proxy(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.is_some_and(|labels| OTHER_PROXY.iter().any(|label| labels.contains_key(*label)))
}

fn cluster_ips(spec: &core::ServiceSpec, faults: &mut Vec<Fault>) -> Vec<IpAddr> {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let single = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty());
    let mut found: Vec<(String, &str)> = listed
        .iter()
        .enumerate()
        .map(|(index, ip)| (format!("spec.clusterIPs[{index}]"), ip.as_str()))
        .collect();
    match single {
        Some(ip) if listed.is_empty() => found.push(("spec.clusterIP".to_owned(), ip)),
        Some(ip) if listed[0] != ip => faults.push(Fault::new(
            "spec.clusterIP",
            format!("{ip} differs from spec.clusterIPs[0], which is used: make them equal"),
        )),
        None if listed.is_empty() => faults.push(Fault::new(
            "spec.clusterIP",
            "missing, so there is no address to balance: write one, or \"None\" for a headless \
             Service",
        )),
        _ => {}
    }
    let mut ips = Vec::with_capacity(found.len());
    for (field, text) in found {
        match address(text) {
            Some(ip) if ips.contains(&ip) => faults.push(Fault::new(
                field,
                format!("{text} is there twice and counts once: remove this one"),
            )),
            Some(ip) => ips.push(ip),
            None => faults.push(Fault::new(
                field,
                format!("{text:?} is no IP address: it is left out, the rest stands; mend it"),
            )),
        }
    }
    ips
}

/// A unicast address; an IPv4 address in IPv6 clothes is an IPv4 address.
pub fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok()?.to_canonical();
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

fn ports(entries: Vec<core::ServicePort>, faults: &mut Vec<Fault>) -> Vec<ServicePort> {
    if entries.is_empty() {
        faults.push(Fault::new("spec.ports", "missing: nothing is balanced; add the ports"));
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut ports = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let (port, protocol) =
            match (number(&field, entry.port), protocol(&field, entry.protocol.as_deref())) {
                (Ok(port), Ok(protocol)) => (port, protocol),
                (port, protocol) => {
                    faults.extend(port.err());
                    faults.extend(protocol.err());
                    continue;
                }
            };
        let name = entry.name.unwrap_or_default();
        if names.contains(&name) {
            faults.push(Fault::new(
                format!("{field}.name"),
                format!("{name:?} names an earlier port too: this entry is left out; rename it"),
            ));
        } else if !numbers.insert((protocol, port)) {
            faults.push(Fault::new(
                format!("{field}.port"),
                format!(
                    "{port}/{protocol} is an earlier port too: this entry is left out; remove it"
                ),
            ));
        } else {
            names.insert(name.clone());
            ports.push(ServicePort { name, port, protocol });
        }
    }
    ports
}

/// A usable port number.
pub fn number(field: &str, port: i32) -> Result<u16, Fault> {
    u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| {
        Fault::new(
            format!("{field}.port"),
            format!("{port} is no port: this entry is left out, the rest stands; write 1 to 65535"),
        )
    })
}

/// A protocol; TCP where none is written.
pub fn protocol(field: &str, protocol: Option<&str>) -> Result<Protocol, Fault> {
    match protocol {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(Fault::new(
            format!("{field}.protocol"),
            format!("{other:?} is no protocol: this entry is left out; write TCP, UDP or SCTP"),
        )),
    }
}
