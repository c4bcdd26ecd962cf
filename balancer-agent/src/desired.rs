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
pub mod nodes;
pub mod pods;
mod topology;
mod weights;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use balancer_common::{
    layout::{FrontendKind, Place},
    policy::Policy,
};
use ipnet::IpNet;

use crate::model::{
    Clash, Moving, ObjectRef, Parts, Problem, Protocol, Service, ServicePort, State, TrafficPolicy,
};
pub use backends::BackendAddr;
use backends::{Backends, Details};
pub use frontends::Addresses;
use health_checks::HealthChecks;
use node_ports::{NodePortAddresses, NodePorts};
use nodes::Nodes;
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

impl FrontendAddr {
    /// The address that stands for those of this node, or of other nodes, in [`Nodes`]. Nobody can dial
    /// the one of the other nodes, and the one of this node is no Service's.
    pub const fn anywhere(place: Place, ipv4: bool) -> IpAddr {
        match (place, ipv4) {
            (Place::OtherNode, true) => IpAddr::V4(Ipv4Addr::BROADCAST),
            (Place::OtherNode, false) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            (_, true) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            (_, false) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// Whether it is an address, or stands for those of [`FrontendAddr::anywhere`].
    pub fn place(&self) -> Place {
        let ip = self.addr.ip();
        let is_at = |place: &Place| ip == Self::anywhere(*place, ip.is_ipv4());
        let places = [Place::ThisNode, Place::OtherNode];
        places.into_iter().find(is_at).unwrap_or(Place::Exact)
    }
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
    /// Where externalTrafficPolicy is Local: where connections to its node port at an address of another
    /// node may go, for each address whose node has an endpoint; at those of others they are refused.
    /// None where the policy is Cluster.
    pub at_nodes: Option<BTreeMap<IpAddr, Backends>>,
    /// Where externalTrafficPolicy is Local: where connections from outside may go. None where the
    /// policy is Cluster, or nothing but the ClusterIP is captured.
    pub outside: Option<Backends>,
    /// True if only endpoints of this node may be used for the ClusterIP.
    pub local: bool,
    /// Where `local` or `outside`: which families have an endpoint that could be used if it were of this
    /// node.
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

impl DesiredPort {
    /// Every endpoint, usable or not, whatever leads there. One may come twice.
    pub fn endpoints(&self) -> impl Iterator<Item = (&BackendAddr, &Details)> {
        let external = self.external.iter().chain(self.at_nodes.iter().flat_map(BTreeMap::values));
        self.backends.iter().chain(external.flat_map(Backends::iter))
    }
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
    /// True if connections from outside must stay on this node: externalTrafficPolicy is Local.
    pub stays: bool,
}

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
    /// Follows a state in which nothing differs but some parts. Returns the Service ports that may
    /// differ: those that are not there any more, too.
    pub fn follow(
        &mut self,
        state: &State,
        parts: &Parts,
        node_ports: &NodePorts,
    ) -> BTreeSet<PortId> {
        if node_ports.may_move(parts) && Nodes::of(state, node_ports) != self.nodes {
            let before = std::mem::replace(self, desired(state, node_ports));
            return before.ports.into_keys().chain(self.ports.keys().cloned()).collect();
        }
        let mut differ = BTreeSet::new();
        // Endpoints of these say at which nodes they have addresses.
        let local = parts.endpoints.iter().filter(|id| self.has_ports_at_nodes(state, id));
        let services: BTreeSet<_> = parts.services.iter().chain(local).cloned().collect();
        if !services.is_empty() {
            self.follow_services(state, &services, &node_ports.addresses, &mut differ);
        }
        // Those that have changed themselves are computed already.
        let others = parts.endpoints.difference(&services);
        for service in others.filter_map(|id| state.services.get(id)) {
            for port in &service.ports {
                let id = port_id(service, port);
                if let Some(known) = self.ports.get_mut(&id) {
                    let frontends = std::mem::take(&mut known.frontends);
                    *known = desired_port(service, port, frontends, state, &self.nodes);
                    differ.insert(id);
                }
            }
            health_checks::recount(&mut self.health_checks, service, state);
        }
        if !services.is_empty() {
            self.follow_health_checks(state, &services, &node_ports.addresses);
        }
        if parts.pods {
            self.pods = pods::pods(state);
        }
        differ
    }

    /// True if a Service has node ports at addresses of other nodes that depend on its endpoints.
    fn has_ports_at_nodes(&self, state: &State, service: &ObjectRef) -> bool {
        !self.nodes.others.is_empty()
            && state.services.get(service).is_some_and(|service| {
                service.external_traffic_policy == TrafficPolicy::Local
                    && service.ports.iter().any(|port| port.node_port.is_some())
            })
    }

    /// Follows a change of Services: theirs, and the addresses that others gain or lose by it.
    fn follow_services(
        &mut self,
        state: &State,
        services: &BTreeSet<ObjectRef>,
        node_ports: &NodePortAddresses,
        differ: &mut BTreeSet<PortId>,
    ) {
        let mut had = Vec::new();
        let ports: Vec<_> = services.iter().flat_map(|service| self.ports_of(service)).collect();
        for id in ports {
            if let Some(port) = self.ports.remove(&id) {
                had.extend(port.frontends.into_iter().map(|frontend| (id.clone(), frontend)));
            }
            differ.insert(id);
        }
        let node = state.node.as_ref();
        let (node_addresses, _) = node.map(|node| node_ports.of(node)).unwrap_or_default();
        let moved = self.addresses.change(state, &node_addresses, &self.nodes, services, &had);
        let mut given: BTreeMap<PortId, Vec<FrontendAddr>> = BTreeMap::new();
        for id in [&moved.lost, &moved.gained].into_iter().flatten().map(|(id, _)| id) {
            if let Some(port) = self.ports.remove(id) {
                given.insert(id.clone(), port.frontends);
            }
        }
        for (id, frontend) in moved.lost {
            given.entry(id).or_default().retain(|had| *had != frontend);
        }
        for (id, frontend) in moved.gained {
            given.entry(id).or_default().push(frontend);
        }
        for (id, mut frontends) in given {
            frontends.sort_unstable();
            frontends.shrink_to_fit();
            let service = state.services.get(&id.service);
            let port = service.and_then(|service| {
                let port = service.ports.iter().find(|port| port_id(service, port) == id)?;
                (!frontends.is_empty())
                    .then(|| desired_port(service, port, frontends, state, &self.nodes))
            });
            if let Some(port) = port {
                self.ports.insert(id.clone(), port);
            }
            differ.insert(id);
        }
    }

    /// Follows a change of Services in what load balancers ask for, and in what is told of all.
    fn follow_health_checks(
        &mut self,
        state: &State,
        services: &BTreeSet<ObjectRef>,
        node_ports: &NodePortAddresses,
    ) {
        let node = state.node.as_ref();
        let (node_addresses, unmatched) = node.map(|node| node_ports.of(node)).unwrap_or_default();
        let mut taken = self.clashes.clone();
        taken.retain(|clash| clash.field == health_checks::FIELD);
        let is_asked = |service: &Service| service.health_check_node_port.is_some();
        let were_asked = self.health_checks.by_port.values().map(|check| &check.service);
        let mut were_asked = were_asked.chain(taken.iter().map(|clash| &clash.service));
        // Most are asked for nowhere.
        if services.iter().filter_map(|id| state.services.get(id)).any(is_asked)
            || were_asked.any(|service| services.contains(service))
        {
            let mut known = std::mem::take(&mut self.health_checks);
            known.by_port.retain(|_, check| !services.contains(&check.service));
            (self.health_checks, taken) =
                health_checks::again(&known, state, node_ports, &node_addresses);
        }
        self.tell(unmatched, taken);
    }

    /// Takes what is not balanced although it was understood.
    fn tell(&mut self, unmatched: Vec<Problem>, taken: Vec<Clash>) {
        let (problems, clashes) = self.addresses.clashes();
        let told = taken.iter().map(Clash::problem);
        self.problems = unmatched.into_iter().chain(problems).chain(told).collect();
        self.clashes = [clashes, taken].concat();
    }

    /// The ports of a Service.
    fn ports_of(&self, service: &ObjectRef) -> Vec<PortId> {
        // The least that a port of it may be.
        let service = service.clone();
        let first = PortId { service, port: String::new(), protocol: Protocol::Tcp };
        let from = self.ports.range(&first..).map(|(id, _)| id);
        from.take_while(|id| id.service == first.service).cloned().collect()
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
    nodes: &Nodes,
) -> DesiredPort {
    let slices: Vec<_> = state.slices.of(&service.id).collect();
    let (node, weights) = (state.node.as_ref(), &service.tuning.weights);
    let backends = |policy| endpoints::of_port(&slices, port, policy, node, weights);
    let local = service.internal_traffic_policy == TrafficPolicy::Local;
    let is_external = |f: &FrontendAddr| f.kind != FrontendKind::ClusterIp;
    let has_external = frontends.iter().any(is_external);
    let cluster = local.then(|| backends(TrafficPolicy::Cluster));
    let internal = backends(service.internal_traffic_policy);
    let stays_here = service.external_traffic_policy == TrafficPolicy::Local && has_external;
    let outside = stays_here.then(|| backends(TrafficPolicy::Local));
    // Those of Cluster.
    let all = cluster.as_ref().or(outside.as_ref().map(|_| &internal));
    let elsewhere = all.map(Elsewhere::of).unwrap_or_default();
    let stays = service.external_traffic_policy == TrafficPolicy::Local && port.node_port.is_some();
    let at_nodes = stays.then(|| {
        let found = endpoints::by_node(&slices, port, weights).into_iter();
        let at = |((node, ipv4), backends): ((&str, bool), Vec<_>)| {
            let backends: Backends = backends.into_iter().collect();
            let ips = nodes.addresses_of(node).filter(|ip| ip.is_ipv4() == ipv4);
            ips.map(|ip| (ip, backends.clone())).collect::<Vec<_>>()
        };
        found.flat_map(at).collect()
    });
    DesiredPort {
        number: port.port,
        frontends,
        backends: internal,
        external: cluster.filter(|_| has_external),
        at_nodes,
        outside,
        local,
        elsewhere,
        options: Options {
            policy: service.tuning.policy,
            affinity: service.session_affinity.unwrap_or(0),
            slow_start: service.tuning.slow_start,
            keeps_suspects: service.tuning.keeps_suspects,
            stays: service.external_traffic_policy == TrafficPolicy::Local,
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
