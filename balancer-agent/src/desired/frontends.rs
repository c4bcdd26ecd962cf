//! Which addresses lead to which Service port. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::{IpAddr, SocketAddr},
};

use balancer_common::layout::{FrontendKind, Place};

use super::{FrontendAddr, Nodes, PortId, balanced, port_id};
use crate::model::{
    Clash, ObjectRef, Problem, Protocol, Service, ServicePort, State, TrafficPolicy,
};

/// An address that is dialled, whatever the reason.
type Dialled = (SocketAddr, Protocol);

/// A Service port that wants an address. In the order in which addresses are given, on every node
/// alike: first by kind, since ClusterIPs and node ports are allocated, while anybody may write any
/// address in `externalIPs`; then by namespace and name of the Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    kind: FrontendKind,
    id: PortId,
    frontend: FrontendAddr,
}

impl Claim {
    fn dialled(&self) -> Dialled {
        (self.frontend.addr, self.frontend.protocol)
    }
}

/// The addresses of all Services: each is given to the first that claims it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    owners: BTreeMap<Dialled, (FrontendKind, PortId)>,
    /// What is claimed and not given.
    waiting: BTreeSet<Claim>,
}

/// Addresses and the Service port of each.
pub type Given = Vec<(PortId, FrontendAddr)>;

/// What became of addresses when some Services changed.
#[derive(Debug, Default)]
pub struct Moved {
    /// What Service ports have now, without those that they had before.
    pub gained: Given,
    /// What ports of other Services had before.
    pub lost: Given,
}

impl Addresses {
    /// Gives the addresses of all Services. What each Service port has is in the order of display.
    pub fn of(
        state: &State,
        node_addresses: &[IpAddr],
        nodes: &Nodes,
    ) -> (Self, BTreeMap<PortId, Vec<FrontendAddr>>) {
        let here = Here { state, node_addresses, nodes };
        let mut all: Vec<_> = state.services.values().flat_map(|s| of_service(s, here)).collect();
        all.sort();
        // Somebody may have written an address twice.
        all.dedup();
        let mut addresses = Self::default();
        let mut given: BTreeMap<PortId, Vec<FrontendAddr>> = BTreeMap::new();
        for claim in all {
            match addresses.owners.entry(claim.dialled()) {
                Entry::Vacant(entry) => {
                    entry.insert((claim.kind, claim.id.clone()));
                    given.entry(claim.id).or_default().push(claim.frontend);
                }
                Entry::Occupied(_) => drop(addresses.waiting.insert(claim)),
            }
        }
        // Most have one; a vector that grows has room for four.
        given.values_mut().for_each(Vec::shrink_to_fit);
        (addresses, given)
    }

    /// Gives the addresses anew that some Services claim or claimed. `had` is what they had.
    pub fn change(
        &mut self,
        state: &State,
        node_addresses: &[IpAddr],
        nodes: &Nodes,
        services: &BTreeSet<ObjectRef>,
        had: &[(PortId, FrontendAddr)],
    ) -> Moved {
        let here = Here { state, node_addresses, nodes };
        let mut claims: BTreeMap<Dialled, Vec<Claim>> = BTreeMap::new();
        for (_, frontend) in had {
            let dialled = (frontend.addr, frontend.protocol);
            self.owners.remove(&dialled);
            claims.entry(dialled).or_default();
        }
        self.waiting.retain(|claim| {
            let stays = !services.contains(&claim.id.service);
            if !stays {
                claims.entry(claim.dialled()).or_default();
            }
            stays
        });
        let changed = services.iter().filter_map(|id| state.services.get(id));
        for claim in changed.flat_map(|service| of_service(service, here)) {
            claims.entry(claim.dialled()).or_default().push(claim);
        }
        self.waiting.retain(|claim| {
            let contested = claims.get_mut(&claim.dialled());
            contested.is_none_or(|claims| {
                claims.push(claim.clone());
                false
            })
        });
        let mut moved = Moved::default();
        for (dialled, mut claims) in claims {
            let before = self.owners.remove(&dialled);
            let before = before.map(|(kind, id)| {
                let (addr, protocol) = dialled;
                Claim { kind, id, frontend: FrontendAddr { kind, addr, protocol } }
            });
            claims.extend(before.clone());
            claims.sort();
            claims.dedup();
            let mut claims = claims.into_iter();
            let Some(first) = claims.next() else { continue };
            self.owners.insert(dialled, (first.kind, first.id.clone()));
            self.waiting.extend(claims);
            if before.as_ref() != Some(&first) {
                moved.lost.extend(before.map(|before| (before.id, before.frontend)));
                moved.gained.push((first.id, first.frontend));
            }
        }
        moved
    }

    /// What a Service claims and another one has, and the same for the owners of those that go
    /// without.
    pub fn clashes(&self) -> (Vec<Problem>, Vec<Clash>) {
        let (mut problems, mut clashes) = (Vec::new(), Vec::new());
        for Claim { id, frontend, .. } in &self.waiting {
            let Some((_, owner)) = self.owners.get(&(frontend.addr, frontend.protocol)) else {
                continue;
            };
            // Once is enough, for whichever of two reasons: an external IP may be a load balancer's.
            if owner == id {
                continue;
            }
            problems.push(taken(id, frontend, owner));
            let clash = clash(id, frontend, owner);
            // A node port is one, at however many addresses of the node.
            if clashes.last() != Some(&clash) {
                clashes.push(clash);
            }
        }
        (problems, clashes)
    }
}

/// What is known of this node.
#[derive(Clone, Copy)]
struct Here<'a> {
    state: &'a State,
    /// Where its node ports are.
    node_addresses: &'a [IpAddr],
    /// Where they are beside that.
    nodes: &'a Nodes,
}

fn of_service(service: &Service, here: Here<'_>) -> Vec<Claim> {
    let mut claimed = Vec::new();
    for port in service.ports.iter().filter(|port| balanced(port.protocol)) {
        for (kind, ip, number) in dialled(service, port, here) {
            let addr = SocketAddr::new(ip, number);
            let frontend = FrontendAddr { kind, addr, protocol: port.protocol };
            claimed.push(Claim { kind, id: port_id(service, port), frontend });
        }
    }
    claimed
}

/// What clients of this node may dial for a Service port.
///
/// With internalTrafficPolicy Local the ClusterIP is left to kube-proxy where this node has no name,
/// since nothing then tells which endpoints are local.
fn dialled(
    service: &Service,
    port: &ServicePort,
    here: Here<'_>,
) -> Vec<(FrontendKind, IpAddr, u16)> {
    let local = service.internal_traffic_policy == TrafficPolicy::Local;
    let internal = Some(port.port).filter(|_| here.state.node.is_some() || !local);
    // A Service has the families of its ClusterIPs, whatever else is written or the node has.
    let has_family = |ip: &&IpAddr| service.cluster_ips.iter().any(|c| c.is_ipv4() == ip.is_ipv4());
    let at = |kind, ips: &[IpAddr], number: Option<u16>| -> Vec<_> {
        let ips = ips.iter().filter(has_family);
        ips.zip(number.into_iter().cycle()).map(|(ip, number)| (kind, *ip, number)).collect()
    };
    let anywhere = anywhere(service, here);
    [
        at(FrontendKind::ClusterIp, &service.cluster_ips, internal),
        at(FrontendKind::NodePort, here.node_addresses, port.node_port),
        at(FrontendKind::NodePort, &anywhere, port.node_port),
        at(FrontendKind::ExternalIp, &service.external_ips, Some(port.port)),
        at(FrontendKind::LoadBalancer, &service.load_balancer_ips, Some(port.port)),
    ]
    .concat()
}

/// What stands for addresses of nodes beside those of this node's Node object: two for each family, and
/// where external traffic stays on the node that it comes to, those of other nodes with an endpoint.
fn anywhere(service: &Service, here: Here<'_>) -> Vec<IpAddr> {
    if here.nodes.is_empty() || service.ports.iter().all(|port| port.node_port.is_none()) {
        return Vec::new();
    }
    let places = [Place::ThisNode, Place::OtherNode];
    let all = [true, false].into_iter();
    let all = all.flat_map(|ipv4| places.map(|place| FrontendAddr::anywhere(place, ipv4)));
    let mut found: Vec<_> = all.collect();
    if service.external_traffic_policy == TrafficPolicy::Local {
        let slices = here.state.slices.of(&service.id);
        let endpoints = slices.flat_map(|slice| &slice.endpoints);
        let named: BTreeSet<&str> =
            endpoints.filter_map(|endpoint| endpoint.place.node.as_deref()).collect();
        found.extend(named.into_iter().flat_map(|node| here.nodes.addresses_of(node)));
    }
    found
}

fn taken(id: &PortId, frontend: &FrontendAddr, owner: &PortId) -> Problem {
    let message = words(&named(frontend), frontend, owner);
    Problem { object: format!("Service {}", id.service), field: String::new(), message }
}

/// Without the address of this node.
fn clash(id: &PortId, frontend: &FrontendAddr, owner: &PortId) -> Clash {
    let what = match frontend.kind {
        FrontendKind::NodePort => format!("node port {}", frontend.addr.port()),
        _ => frontend.addr.to_string(),
    };
    Clash { service: id.service.clone(), field: "", message: words(&what, frontend, owner) }
}

fn named(frontend: &FrontendAddr) -> String {
    let port = frontend.addr.port();
    match frontend.place() {
        Place::Exact => frontend.addr.to_string(),
        Place::ThisNode => format!("node port {port} at further addresses of this node"),
        Place::OtherNode => format!("node port {port} at other nodes"),
    }
}

fn words(what: &str, frontend: &FrontendAddr, owner: &PortId) -> String {
    let one = if frontend.kind == FrontendKind::NodePort { "a node port" } else { "an address" };
    format!(
        "{what} over {} belongs to Service {} already, which keeps it; give this one {one} of its \
         own",
        frontend.protocol, owner.service,
    )
}
