//! What this node should balance, from what the source knows. Pure.
//!
//! Services and EndpointSlices in, frontends and backends out: one [`DesiredPort`] for every
//! Service port that can be balanced here. What can't be is left out, for kube-proxy, and stands in
//! [`Desired::problems`] where somebody should mend it.

pub mod backends;
pub mod endpoints;
mod follow;
mod frontends;
pub mod health_checks;
pub mod node_ports;
pub mod nodes;
pub mod pods;
mod port;
mod topology;
mod weights;

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{Clash, Problem, Protocol, State};
pub use backends::BackendAddr;
pub use frontends::Addresses;
use health_checks::HealthChecks;
use node_ports::NodePorts;
use nodes::Nodes;
use pods::DesiredPod;
pub use port::{DesiredPort, Elsewhere, FrontendAddr, Options, PortId};
use port::{desired_port, port_id};

/// Everything that this node should balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// By Service port.
    pub ports: BTreeMap<PortId, DesiredPort>,
    /// The pods of this node, by their uid.
    pub pods: BTreeMap<String, DesiredPod>,
    /// Where node ports are captured beside addresses of the Node object of this node.
    pub nodes: Nodes,
    /// The addresses that clients with the network of the node have.
    pub node_addresses: Vec<IpAddr>,
    /// True once new connections from outside should not come to this node any more.
    pub node_leaving: bool,
    /// What load balancers ask this node for.
    pub health_checks: HealthChecks,
    /// What is not balanced although it was understood, and why.
    pub problems: Vec<Problem>,
    /// Those among them that another Service has, for the owners of those that go without.
    pub clashes: Vec<Clash>,
    /// Whose each address is.
    pub addresses: Addresses,
}

/// Computes what should be balanced. Which rules apply is in `docs/endpoints.md`.
pub fn desired(state: &State, node_ports: &NodePorts) -> Desired {
    let node = state.node.as_ref();
    let at = &node_ports.addresses;
    let (node_addresses, unmatched) = node.map(|node| at.of(node)).unwrap_or_default();
    let nodes = Nodes::of(state, node_ports);
    let (addresses, mut given) = Addresses::of(state, &node_addresses, &nodes);
    let (health_checks, taken) = health_checks::of(state, at, &node_addresses);
    let mut ports = Vec::with_capacity(given.len());
    for service in state.services.values() {
        for port in &service.ports {
            let id = port_id(service, port);
            if let Some(frontends) = given.remove(&id) {
                ports.push((id, desired_port(service, port, frontends, state, &nodes)));
            }
        }
    }
    let mut desired = Desired {
        // All at once, which fills the nodes of the tree.
        ports: ports.into_iter().collect(),
        pods: pods::pods(state),
        nodes,
        node_addresses: node.map(|node| node.addresses.clone()).unwrap_or_default(),
        node_leaving: node.is_some_and(|node| node.leaving),
        health_checks,
        problems: Vec::new(),
        clashes: Vec::new(),
        addresses,
    };
    desired.tell(unmatched, taken);
    desired
}

impl Desired {
    /// Takes what is not balanced although it was understood.
    fn tell(&mut self, unmatched: Vec<Problem>, taken: Vec<Clash>) {
        let (problems, clashes) = self.addresses.clashes();
        let told = taken.iter().map(Clash::problem);
        self.problems = unmatched.into_iter().chain(problems).chain(told).collect();
        self.clashes = [clashes, taken].concat();
    }
}

/// Protocols that the programs handle; the others are left to kube-proxy.
const fn balanced(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

#[cfg(test)]
mod tests;
