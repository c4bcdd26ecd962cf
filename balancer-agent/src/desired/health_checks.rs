//! What load balancers outside of the cluster ask a node for: whether it has ready endpoints of a
//! Service whose external traffic must stay on the node that it came to. Pure; rules of kube-proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use super::{endpoints::is_local, node_ports::NodePortAddresses};
use crate::model::{Clash, EndpointSlice, ObjectRef, Service, ServicePort, State};

/// Where a Service says at which port it is asked for.
pub const FIELD: &str = "spec.healthCheckNodePort";

/// Where answers are given, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthChecks {
    /// Addresses to listen at; `::` stands for all of both families.
    pub addresses: Vec<IpAddr>,
    /// By `spec.healthCheckNodePort`.
    pub by_port: BTreeMap<u16, HealthCheck>,
}

/// A Service that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The Service.
    pub service: ObjectRef,
    /// Its ready endpoints on this node.
    pub local_endpoints: usize,
}

/// The health checks of this node, and which are in each other's way.
pub fn of(
    state: &State,
    node_ports: &NodePortAddresses,
    captured: &[IpAddr],
) -> (HealthChecks, Vec<Clash>) {
    again(&HealthChecks::default(), state, node_ports, captured)
}

/// The same, after a change of Services and of slices that [`recount`] has seen.
pub fn again(
    known: &HealthChecks,
    state: &State,
    node_ports: &NodePortAddresses,
    captured: &[IpAddr],
) -> (HealthChecks, Vec<Clash>) {
    let addresses = match node_ports {
        // A load balancer may ask at an address of its own that the node answers for.
        NodePortAddresses::Primary | NodePortAddresses::All => vec![Ipv6Addr::UNSPECIFIED.into()],
        NodePortAddresses::In(_) => captured.to_vec(),
    };
    let mut checks = HealthChecks { addresses, by_port: BTreeMap::new() };
    let mut clashes = Vec::new();
    for service in state.services.values() {
        let Some(port) = service.health_check_node_port else { continue };
        if let Some(first) = checks.by_port.get(&port) {
            clashes.push(clash(service, port, &first.service));
            continue;
        }
        let known = known.by_port.get(&port).filter(|known| known.service == service.id);
        let counted = || HealthCheck {
            service: service.id.clone(),
            local_endpoints: local_endpoints(service, state),
        };
        checks.by_port.insert(port, known.cloned().unwrap_or_else(counted));
    }
    (checks, clashes)
}

/// Counts again for a Service some of whose slices differ.
pub fn recount(checks: &mut HealthChecks, service: &Service, state: &State) {
    let port = service.health_check_node_port;
    let check = port.and_then(|port| checks.by_port.get_mut(&port));
    if let Some(check) = check.filter(|check| check.service == service.id) {
        check.local_endpoints = local_endpoints(service, state);
    }
}

/// `LocalReadyEndpoints` of kube-proxy: addresses, each once, whatever the number of ports. A pod of
/// both families counts once.
fn local_endpoints(service: &Service, state: &State) -> usize {
    let serves = |slice: &&EndpointSlice| {
        slice.ports.iter().any(|of_slice| {
            let is = |port: &ServicePort| {
                (&port.name, port.protocol) == (&of_slice.name, of_slice.protocol)
            };
            service.ports.iter().any(is)
        })
    };
    let ready: BTreeSet<IpAddr> = state
        .slices
        .of(&service.id)
        .filter(serves)
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.ready && is_local(endpoint, state.node.as_ref()))
        .map(|endpoint| endpoint.address)
        .collect();
    let ipv4 = ready.iter().filter(|address| address.is_ipv4()).count();
    ipv4.max(ready.len() - ipv4)
}

fn clash(service: &Service, port: u16, first: &ObjectRef) -> Clash {
    Clash {
        service: service.id.clone(),
        field: FIELD,
        message: format!(
            "{port} belongs to Service {first} already, which is answered for there; give \
             this one a port of its own"
        ),
    }
}

#[cfg(test)]
mod tests;
