//! What is desired, as rows: one for every Service port and family.
//!
//! A client of one family can't reach endpoints of the other, so that a Service port of both is two
//! entries in the maps, each with the frontends and backends of its family. Where external
//! addresses have other endpoints than the ClusterIP, they are entries of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use balancer_common::layout::{FrontendKind, Place, Row};
use ipnet::IpNet;

use crate::{
    desired::{
        BackendAddr, DesiredPort, FrontendAddr, Options, PortId,
        backends::{Backends, Details},
    },
    maps::identity::{Family, RowId, Scope},
    model::Protocol,
};

/// What a row should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRow {
    /// `spec.ports[].port`.
    pub number: u16,
    /// Addresses that lead to it.
    pub frontends: Vec<FrontendAddr>,
    /// Where connections may go, and the weight of each.
    pub backends: Vec<(BackendAddr, u16)>,
    /// Backends that no new socket of UDP goes to and that flows stay with.
    pub serving: Vec<BackendAddr>,
    /// What stands for the row where there is no backend.
    pub empty: Row,
    /// How one of the backends is chosen.
    pub options: Options,
    /// Clients that may use the addresses of the load balancer; all where there is no range.
    pub ranges: BTreeSet<IpNet>,
}

impl DesiredRow {
    /// True if only the clients of `ranges` may use a frontend.
    pub fn restricts(&self, frontend: &FrontendAddr) -> bool {
        frontend.kind == FrontendKind::LoadBalancer && !self.ranges.is_empty()
    }
}

/// Rows by what they are known by.
pub type Rows = BTreeMap<RowId, DesiredRow>;

/// Every row of some Service ports. A family that no frontend has needs none.
pub fn rows<'a>(ports: impl IntoIterator<Item = (&'a PortId, &'a DesiredPort)>) -> Rows {
    let mut rows = BTreeMap::new();
    for (id, port) in ports {
        let mut led: BTreeMap<_, Vec<FrontendAddr>> = BTreeMap::new();
        for frontend in &port.frontends {
            let family = Family::of(frontend.addr.ip());
            led.entry((family, scope_of(port, frontend))).or_default().push(*frontend);
        }
        // Nothing leads there by itself: the rows of its frontends name it.
        let outside = |family| {
            let is_external = |f: &&FrontendAddr| f.kind != FrontendKind::ClusterIp;
            let mut external = port.frontends.iter().filter(is_external);
            port.outside.is_some() && external.any(|f| Family::of(f.addr.ip()) == family)
        };
        for family in Family::ALL.into_iter().filter(|family| outside(*family)) {
            led.insert((family, Scope::Outside), Vec::new());
        }
        for ((family, scope), frontends) in led {
            let row = row(port, family, scope, frontends, backends(port, scope));
            rows.insert(RowId { port: id.clone(), family, scope }, row);
        }
    }
    rows
}

/// Where connections to the frontends of a scope may go; nowhere for none.
fn backends(port: &DesiredPort, scope: Scope) -> Option<&Backends> {
    match scope {
        Scope::Outside => port.outside.as_ref(),
        Scope::Internal => Some(&port.backends),
        Scope::External => port.external.as_ref(),
        Scope::NoNode => None,
        Scope::Node(ip) => port.at_nodes.as_ref()?.get(&ip),
    }
}

fn scope_of(port: &DesiredPort, frontend: &FrontendAddr) -> Scope {
    let ip = frontend.addr.ip();
    match (frontend.kind, &port.at_nodes) {
        (FrontendKind::ClusterIp, _) => Scope::Internal,
        (FrontendKind::NodePort, Some(_)) if frontend.place() == Place::OtherNode => Scope::NoNode,
        (FrontendKind::NodePort, Some(nodes)) if nodes.contains_key(&ip) => Scope::Node(ip),
        _ if port.external.is_none() => Scope::Internal,
        _ => Scope::External,
    }
}

fn row(
    port: &DesiredPort,
    family: Family,
    scope: Scope,
    frontends: Vec<FrontendAddr>,
    backends: Option<&Backends>,
) -> DesiredRow {
    let is_here = |backend: &BackendAddr| Family::of(backend.addr().ip()) == family;
    let serves = |(backend, details): &(&BackendAddr, &Details)| {
        let stays = details.serving && !details.usable;
        stays && backend.protocol == Protocol::Udp && is_here(backend)
    };
    let all = || backends.into_iter().flat_map(Backends::iter);
    let serving = all().filter(serves).map(|(backend, _)| *backend).collect();
    let usable = all().filter(|(_, details)| details.usable);
    let backends = usable.map(|(backend, details)| (*backend, details.weight));
    let backends = backends.filter(|(backend, _)| is_here(backend)).collect();
    let elsewhere = match family {
        Family::V4 => port.elsewhere.ipv4,
        Family::V6 => port.elsewhere.ipv6,
    };
    let is_local = scope == Scope::Outside || port.local && scope == Scope::Internal;
    let not_local = is_local && elsewhere;
    let empty = if not_local { Row::NOT_LOCAL } else { Row::EMPTY };
    let is_net_here = |net: &IpNet| Family::of(net.addr()) == family;
    // Who may use an address is asked of the row that it leads to.
    let has_ranges = scope != Scope::Outside;
    let ranges = port.source_ranges.iter().filter(|_| has_ranges);
    let ranges: BTreeSet<_> = ranges.copied().collect();
    let mut here: BTreeSet<_> = ranges.iter().filter(|net| is_net_here(net)).copied().collect();
    if here.is_empty() && !ranges.is_empty() {
        // Ranges of the other family alone admit nobody of this one. Something must stand for that.
        here.insert(nobody(family));
    }
    let (number, options) = (port.number, port.options);
    DesiredRow { number, frontends, backends, serving, empty, options, ranges: here }
}

/// A range that no client is in: the unspecified address.
fn nobody(family: Family) -> IpNet {
    match family {
        Family::V4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED).into(),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED).into(),
    }
}
