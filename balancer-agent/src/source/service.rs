//! A Service of the API to a Service of the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::core::v1 as core;

use super::{
    address::{address, addresses},
    affinity::affinity,
    annotations::{no_rebalance, tuning},
    object::{Fault, Faults, Found},
    port::{self, number, protocol},
    ranges::{bounded, ranges},
    requests::requests_only,
    traffic,
};
use crate::{
    model::{ObjectRef, Service, ServicePort},
    settings::quoted,
};

/// Label that hands an object to another proxy, whatever its value.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// Label of what belongs to a headless Service, whatever its value.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Ports of a Service that are used: each is a row of its own in the maps.
const MOST_PORTS: usize = 1_000;

/// The Service as far as it is usable, and what is not.
pub fn convert(object: core::Service, id: &ObjectRef) -> (Found, Vec<Fault>) {
    let mut faults = Faults::default();
    let mut spec = object.spec.unwrap_or_default();
    let is_none = |ip: &String| ip == "None";
    let headless = is_headless(object.metadata.labels.as_ref())
        || spec.cluster_ip.as_ref().is_some_and(is_none)
        || spec.cluster_ips.iter().flatten().any(is_none);
    let external_name = spec.type_.as_deref() == Some("ExternalName");
    if external_name || is_for_another_proxy(object.metadata.labels.as_ref()) {
        return (Found::Skipped, faults.into_told());
    }
    if headless {
        return (Found::Headless, faults.into_told());
    }
    let annotations = object.metadata.annotations.as_ref();
    let ingress = object.status.and_then(|status| status.load_balancer).and_then(|lb| lb.ingress);
    let cluster_ips = cluster_ips(&spec, &mut faults);
    let external_ips = external_ips(spec.external_ips.as_deref().unwrap_or_default(), &mut faults);
    let load_balancer_ips = load_balancer_ips(ingress.as_deref().unwrap_or_default(), &mut faults);
    let written = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    let session_affinity = affinity(&spec, &mut faults);
    let mut tuning = tuning(annotations, &mut faults);
    if session_affinity.is_some()
        && let Some(moving) = &mut tuning.moving
        && moving.rebalance == Some(true)
    {
        no_rebalance(Arc::make_mut(moving), "spec.sessionAffinity is ClientIP", &mut faults);
    }
    let ports = ports(spec.ports.take().unwrap_or_default(), &mut faults);
    let external_traffic_policy = traffic::external_policy(&spec, &mut faults);
    let source_ranges = ranges(written, annotations, &mut faults);
    let service = Service {
        id: id.clone(),
        uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
        cluster_ips,
        external_ips,
        load_balancer_ips,
        source_ranges: bounded(source_ranges, ports.len(), &mut faults),
        session_affinity,
        internal_traffic_policy: traffic::internal_policy(&spec, &mut faults),
        external_traffic_policy,
        health_check_node_port: traffic::health_check_node_port(
            &spec,
            external_traffic_policy,
            &mut faults,
        ),
        ports,
        tuning,
    };
    (Found::Service(service.into()), faults.into_told())
}

/// True where the labels say that another proxy serves the object.
pub fn is_for_another_proxy(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.is_some_and(|labels| labels.contains_key(OTHER_PROXY))
}

/// True where the labels say that no proxy serves the object.
pub fn is_headless(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.is_some_and(|labels| labels.contains_key(HEADLESS))
}

fn cluster_ips(spec: &core::ServiceSpec, faults: &mut Faults) -> Vec<IpAddr> {
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
    addresses(found.into_iter(), faults)
}

fn external_ips(listed: &[String], faults: &mut Faults) -> Vec<IpAddr> {
    let field = |index| format!("spec.externalIPs[{index}]");
    let listed = listed.iter().enumerate().filter(|(index, text)| {
        let refused = address(text).is_some_and(is_of_link);
        if refused {
            faults.push_with(|| {
                Fault::new(
                    field(*index),
                    format!(
                        "{text} is of the loopback or of a link, which the API refuses: it is left \
                         out, the rest stands; remove it"
                    ),
                )
            });
        }
        !refused
    });
    let listed: Vec<_> = listed.map(|(index, ip)| (field(index), ip.as_str())).collect();
    addresses(listed.into_iter(), faults)
}

/// True for what means another host, or none, wherever it is dialled.
fn is_of_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// The addresses that keep their meaning inside the cluster. An ingress of ipMode Proxy must be
/// reached (KEP-1860), and one with a hostname is resolved by the client.
fn load_balancer_ips(ingress: &[core::LoadBalancerIngress], faults: &mut Faults) -> Vec<IpAddr> {
    let mut found = Vec::with_capacity(ingress.len());
    for (index, entry) in ingress.iter().enumerate() {
        let field = format!("status.loadBalancer.ingress[{index}]");
        let Some(ip) = entry.ip.as_deref().filter(|ip| !ip.is_empty()) else { continue };
        match entry.ip_mode.as_deref() {
            None | Some("" | "VIP") => found.push((format!("{field}.ip"), ip)),
            Some("Proxy") => {}
            Some(other) => faults.push(Fault::new(
                format!("{field}.ipMode"),
                format!(
                    "{other} is no mode: this entry is left out; write VIP or Proxy",
                    other = quoted(other)
                ),
            )),
        }
    }
    addresses(found.into_iter(), faults)
}

fn ports(entries: Vec<core::ServicePort>, faults: &mut Faults) -> Vec<ServicePort> {
    if entries.is_empty() {
        faults.push(Fault::new("spec.ports", "missing: nothing is balanced; add the ports"));
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut ports = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        if ports.len() == MOST_PORTS {
            faults.push_with(|| {
                let message =
                    format!("only the first {MOST_PORTS} ports count: this one is left out");
                Fault::new(field, message)
            });
            continue;
        }
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
                format!(
                    "{name} names an earlier port too: this entry is left out; rename it",
                    name = quoted(&name)
                ),
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
            let node_port = entry.node_port.filter(|port| *port != 0);
            // The API takes 0 for none.
            let node_port = node_port.map(|port| port::node_port(&field, port)).transpose();
            let node_port = node_port.unwrap_or_else(|fault| {
                faults.push(fault);
                None
            });
            let requests_only = requests_only(entry.app_protocol.as_deref(), &name);
            ports.push(ServicePort { name, port, node_port, requests_only, protocol });
        }
    }
    ports
}
