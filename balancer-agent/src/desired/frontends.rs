//! Which addresses lead to which Service port. Pure.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{IpAddr, SocketAddr},
};

use balancer_common::layout::FrontendKind;

use super::{FrontendAddr, PortId, balanced};
use crate::model::{Clash, Problem, Protocol, Service, ServicePort, State, TrafficPolicy};

/// The addresses of all Services, each given to one of them.
pub struct Claims {
    /// What each Service port has, in the order of display; ports that have nothing are not there.
    pub won: BTreeMap<PortId, Vec<FrontendAddr>>,
    /// What a Service claims and another one has.
    pub problems: Vec<Problem>,
    /// The same for the owners of those Services.
    pub clashes: Vec<Clash>,
}

/// Gives every address to the first that claims it, on every node alike.
///
/// First by kind, since ClusterIPs and node ports are allocated, while anybody may write any address
/// in `externalIPs`; then by namespace and name of the Service.
pub fn claims(state: &State, node_addresses: &[IpAddr]) -> Claims {
    let here = Here { is_known: state.node.is_some(), node_addresses };
    let mut all: Vec<_> = state.services.values().flat_map(|s| of_service(s, here)).collect();
    all.sort_by(|(id, a), (other, b)| (a.kind, id, a).cmp(&(b.kind, other, b)));
    let mut owners: BTreeMap<(SocketAddr, Protocol), PortId> = BTreeMap::new();
    let mut claims = Claims { won: BTreeMap::new(), problems: Vec::new(), clashes: Vec::new() };
    for (id, frontend) in all {
        match owners.entry((frontend.addr, frontend.protocol)) {
            Entry::Vacant(entry) => {
                entry.insert(id.clone());
                claims.won.entry(id).or_default().push(frontend);
            }
            // Once is enough, for whichever of two reasons: an external IP may be a load balancer's.
            Entry::Occupied(owner) if *owner.get() == id => {}
            Entry::Occupied(owner) => {
                claims.problems.push(taken(&id, &frontend, owner.get()));
                let clash = clash(&id, &frontend, owner.get());
                // A node port is one, at however many addresses of the node.
                if claims.clashes.last() != Some(&clash) {
                    claims.clashes.push(clash);
                }
            }
        }
    }
    // Most have one; a vector that grows has room for four.
    claims.won.values_mut().for_each(Vec::shrink_to_fit);
    claims
}

/// What is known of this node.
#[derive(Clone, Copy)]
struct Here<'a> {
    /// True if its name is.
    is_known: bool,
    /// Where its node ports are.
    node_addresses: &'a [IpAddr],
}

fn of_service(service: &Service, here: Here<'_>) -> Vec<(PortId, FrontendAddr)> {
    let mut claimed = Vec::new();
    for port in service.ports.iter().filter(|port| balanced(port.protocol)) {
        for (kind, ip, number) in dialled(service, port, here) {
            let addr = SocketAddr::new(ip, number);
            let id = PortId {
                service: service.id.clone(),
                port: port.name.clone(),
                protocol: port.protocol,
            };
            claimed.push((id, FrontendAddr { kind, addr, protocol: port.protocol }));
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
    let internal = Some(port.port).filter(|_| here.is_known || !local);
    // A Service has the families of its ClusterIPs, whatever else is written or the node has.
    let has_family = |ip: &&IpAddr| service.cluster_ips.iter().any(|c| c.is_ipv4() == ip.is_ipv4());
    let at = |kind, ips: &[IpAddr], number: Option<u16>| -> Vec<_> {
        let ips = ips.iter().filter(has_family);
        ips.zip(number.into_iter().cycle()).map(|(ip, number)| (kind, *ip, number)).collect()
    };
    [
        at(FrontendKind::ClusterIp, &service.cluster_ips, internal),
        at(FrontendKind::NodePort, here.node_addresses, port.node_port),
        at(FrontendKind::ExternalIp, &service.external_ips, Some(port.port)),
        at(FrontendKind::LoadBalancer, &service.load_balancer_ips, Some(port.port)),
    ]
    .concat()
}

fn taken(id: &PortId, frontend: &FrontendAddr, owner: &PortId) -> Problem {
    let message = words(&frontend.addr.to_string(), frontend, owner);
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

fn words(what: &str, frontend: &FrontendAddr, owner: &PortId) -> String {
    let one = if frontend.kind == FrontendKind::NodePort { "a node port" } else { "an address" };
    format!(
        "{what} over {} belongs to Service {} already, which keeps it; give this one {one} of its \
         own",
        frontend.protocol, owner.service,
    )
}
