//! What this node should balance, from what the source knows. Pure.
//!
//! Services and EndpointSlices in, frontends and backends out: one [`DesiredPort`] for every
//! Service port that can be balanced here. What can't be is left out, for kube-proxy, and stands in
//! [`Desired::problems`] where somebody should mend it.

pub mod backends;
pub mod endpoints;
mod frontends;
pub mod health_checks;
pub mod node_ports;
pub mod pods;
mod topology;
mod weights;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use balancer_common::{layout::FrontendKind, policy::Policy};
use ipnet::IpNet;

use crate::model::{
    Clash, Moving, ObjectRef, Parts, Problem, Protocol, Service, ServicePort, State, TrafficPolicy,
};
pub use backends::BackendAddr;
use backends::Backends;
use health_checks::HealthChecks;
use node_ports::NodePortAddresses;
use pods::DesiredPod;

/// What a Service port is known by, over renumbering of its port and restarts of the agent, as in
/// kube-proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    /// The Service.
    pub service: ObjectRef,
    /// Name of the port, empty where it has none.
    pub port: String,
    /// Protocol of the port.
    pub protocol: Protocol,
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port.is_empty() {
            write!(f, "{} ({})", self.service, self.protocol)
        } else {
            write!(f, "{}:{} ({})", self.service, self.port, self.protocol)
        }
    }
}

/// An address that clients dial. The order is the order of display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontendAddr {
    /// Why it is captured.
    pub kind: FrontendKind,
    /// What is dialled.
    pub addr: SocketAddr,
    /// Protocol it is dialled with.
    pub protocol: Protocol,
}

/// One Service port as this node should balance it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPort {
    /// `spec.ports[].port`.
    pub number: u16,
    /// Addresses to capture.
    pub frontends: Vec<FrontendAddr>,
    /// Where connections may go, and what is known of each endpoint.
    pub backends: Backends,
    /// Where connections to external addresses may go (node ports, external IPs, addresses of a
    /// load balancer), if not to `backends`: where internalTrafficPolicy is Local.
    pub external: Option<Backends>,
    /// True if only endpoints of this node may be used for the ClusterIP.
    pub local: bool,
    /// Where `local`: which families have an endpoint that could be used if it were of this node.
    pub elsewhere: Elsewhere,
    /// How one of the backends is chosen.
    pub options: Options,
    /// When connections are moved; none where nothing is said of it.
    pub moving: Option<Arc<Moving>>,
    /// True if nothing that hangs on a connection outlives a request and its answer.
    pub requests_only: bool,
    /// Clients that may use the addresses of the load balancer; all where there is no range.
    pub source_ranges: Vec<IpNet>,
}

/// Families in which some node has a usable endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl Elsewhere {
    fn of(backends: &Backends) -> Self {
        let has = |family: fn(&IpAddr) -> bool| {
            backends.iter().any(|(addr, details)| details.usable && family(&addr.addr().ip()))
        };
        Self { ipv4: has(IpAddr::is_ipv4), ipv6: has(IpAddr::is_ipv6) }
    }
}

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The policy.
    pub policy: Policy,
    /// Seconds for which a client stays with its backend; 0 without session affinity.
    pub affinity: u32,
    /// Seconds over which a new backend comes to its full share; 0 for at once.
    pub slow_start: u32,
    /// True if backends that have just failed are chosen like others.
    pub keeps_suspects: bool,
}

/// Everything that this node should balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// By Service port.
    pub ports: BTreeMap<PortId, DesiredPort>,
    /// The pods of this node, by their uid.
    pub pods: BTreeMap<String, DesiredPod>,
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
}

/// Computes what should be balanced. Which rules apply is in `docs/endpoints.md`.
pub fn desired(state: &State, node_ports: &NodePortAddresses) -> Desired {
    let node = state.node.as_ref();
    let (node_addresses, unmatched) = node.map(|node| node_ports.of(node)).unwrap_or_default();
    let claims = frontends::claims(state, &node_addresses);
    let (health_checks, taken) = health_checks::of(state, node_ports, &node_addresses);
    let mut ports = Vec::with_capacity(claims.won.len());
    let mut won = claims.won;
    for service in state.services.values() {
        for port in &service.ports {
            let id = port_id(service, port);
            if let Some(frontends) = won.remove(&id) {
                ports.push((id, desired_port(service, port, frontends, state)));
            }
        }
    }
    Desired {
        // All at once, which fills the nodes of the tree.
        ports: ports.into_iter().collect(),
        pods: pods::pods(state),
        node_addresses: node.map(|node| node.addresses.clone()).unwrap_or_default(),
        node_leaving: node.is_some_and(|node| node.leaving),
        health_checks,
        problems: {
            let taken = taken.iter().map(Clash::problem);
            unmatched.into_iter().chain(claims.problems).chain(taken).collect()
        },
        clashes: [claims.clashes, taken].concat(),
    }
}

impl Desired {
    /// Follows a state in which nothing differs but some parts. Returns the Service ports that were
    /// computed again: they differ in nothing but their backends.
    pub fn follow(&mut self, state: &State, parts: &Parts) -> BTreeSet<PortId> {
        let mut again = BTreeSet::new();
        for service in parts.endpoints.iter().filter_map(|id| state.services.get(id)) {
            for port in &service.ports {
                let id = port_id(service, port);
                if let Some(known) = self.ports.get_mut(&id) {
                    let frontends = std::mem::take(&mut known.frontends);
                    *known = desired_port(service, port, frontends, state);
                    again.insert(id);
                }
            }
            health_checks::recount(&mut self.health_checks, service, state);
        }
        if parts.pods {
            self.pods = pods::pods(state);
        }
        again
    }
}

fn port_id(service: &Service, port: &ServicePort) -> PortId {
    PortId { service: service.id.clone(), port: port.name.clone(), protocol: port.protocol }
}

/// A Service port that clients dial at `frontends`.
fn desired_port(
    service: &Service,
    port: &ServicePort,
    frontends: Vec<FrontendAddr>,
    state: &State,
) -> DesiredPort {
    let slices: Vec<_> = state.slices.of(&service.id).collect();
    let (node, weights) = (state.node.as_ref(), &service.tuning.weights);
    let backends = |policy| endpoints::of_port(&slices, port, policy, node, weights);
    let local = service.internal_traffic_policy == TrafficPolicy::Local;
    let is_external = |f: &FrontendAddr| f.kind != FrontendKind::ClusterIp;
    let has_external = frontends.iter().any(is_external);
    let cluster = local.then(|| backends(TrafficPolicy::Cluster));
    let elsewhere = cluster.as_ref().map(Elsewhere::of).unwrap_or_default();
    DesiredPort {
        number: port.port,
        frontends,
        backends: backends(service.internal_traffic_policy),
        external: cluster.filter(|_| has_external),
        local,
        elsewhere,
        options: Options {
            policy: service.tuning.policy,
            affinity: service.session_affinity.unwrap_or(0),
            slow_start: service.tuning.slow_start,
            keeps_suspects: service.tuning.keeps_suspects,
        },
        moving: service.tuning.moving.clone(),
        requests_only: port.requests_only,
        source_ranges: service.source_ranges.clone(),
    }
}

/// Protocols that the programs handle; the others are left to kube-proxy.
const fn balanced(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

#[cfg(test)]
mod tests;
