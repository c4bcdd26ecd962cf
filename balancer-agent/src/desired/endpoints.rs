//! Which endpoints of its slices a Service port may use. Pure; rules of kube-proxy.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{BackendAddr, balanced_address};
use crate::model::{Endpoint, EndpointSlice, ObjectRef, ServicePort, State};

/// What is known of an endpoint beyond its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Node it runs on.
    pub node: Option<String>,
    /// Zone it runs in.
    pub zone: Option<String>,
    /// True if its pod is being deleted.
    pub terminating: bool,
    /// True if new connections may go there.
    pub usable: bool,
}

/// Every endpoint of a Service port, usable or not.
pub type Backends = BTreeMap<BackendAddr, Details>;

/// Slices of each Service.
pub fn by_service(state: &State) -> BTreeMap<ObjectRef, Vec<&EndpointSlice>> {
    let mut slices: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for slice in state.slices.values() {
        let service =
            ObjectRef { namespace: slice.id.namespace.clone(), name: slice.service.clone() };
        slices.entry(service).or_default().push(slice);
    }
    slices
}

/// The endpoints of a Service port.
///
/// Usable are the ready endpoints; if there are none, those that are terminating but still serve
/// (KEP-1669). Endpoints that stand in several slices, as they do while the controller moves them,
/// count once: the better of the conditions is taken.
pub fn select(slices: &[&EndpointSlice], port: &ServicePort) -> Backends {
    let mut found: BTreeMap<BackendAddr, &Endpoint> = BTreeMap::new();
    for slice in slices {
        let numbers = slice
            .ports
            .iter()
            .filter(|p| p.name == port.name && p.protocol == port.protocol)
            .map(|p| p.port);
        for number in numbers {
            for endpoint in slice.endpoints.iter().filter(|e| balanced_address(e.address)) {
                let addr = BackendAddr {
                    addr: SocketAddr::new(endpoint.address, number),
                    protocol: port.protocol,
                };
                let known = found.entry(addr).or_insert(endpoint);
                if rank(endpoint) > rank(known) {
                    *known = endpoint;
                }
            }
        }
    }
    let best = found.values().map(|endpoint| rank(endpoint)).max().unwrap_or(Rank::Unusable);
    found
        .into_iter()
        .map(|(addr, endpoint)| {
            let rank = rank(endpoint);
            let details = Details {
                node: endpoint.node.clone(),
                zone: endpoint.zone.clone(),
                terminating: endpoint.terminating,
                usable: rank == best && rank != Rank::Unusable,
            };
            (addr, details)
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Unusable,
    ServingTerminating,
    Ready,
}

const fn rank(endpoint: &Endpoint) -> Rank {
    if endpoint.ready {
        Rank::Ready
    } else if endpoint.serving && endpoint.terminating {
        Rank::ServingTerminating
    } else {
        Rank::Unusable
    }
}
