//! One Service port as this node should balance it. Pure.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use balancer_common::{
    layout::{FrontendKind, Place},
    policy::Policy,
};
use ipnet::IpNet;

use super::{
    backends::{BackendAddr, Backends, Details},
    endpoints,
    nodes::Nodes,
};
use crate::model::{Moving, ObjectRef, Protocol, Service, ServicePort, State, TrafficPolicy};

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

/// What a port of a Service is known by.
pub fn port_id(service: &Service, port: &ServicePort) -> PortId {
    PortId { service: service.id.clone(), port: port.name.clone(), protocol: port.protocol }
}

/// The Service port that clients dial at `frontends`.
pub fn desired_port(
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
            let ips = nodes.addresses_of(node).iter().copied().filter(|ip| ip.is_ipv4() == ipv4);
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
