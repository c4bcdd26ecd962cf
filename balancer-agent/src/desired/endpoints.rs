//! Which endpoints of its slices a Service port may use. Pure; rules of kube-proxy.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use super::{
    backends::{BackendAddr, Backends, Details},
    topology::Reach,
    weights,
};
use crate::model::{Endpoint, EndpointSlice, Node, ServicePort, TrafficPolicy, WeightRule};

/// The endpoints of a Service port. Families are judged apart, as by kube-proxy: a ready endpoint of
/// one is no use to clients of the other. A slice has one family.
pub fn of_port(
    slices: &[&EndpointSlice],
    port: &ServicePort,
    policy: TrafficPolicy,
    node: Option<&Node>,
    rules: &[WeightRule],
) -> Backends {
    let ipv4 = |slice: &&EndpointSlice| slice.endpoints.iter().all(|e| e.address.is_ipv4());
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = slices.iter().copied().partition(ipv4);
    let select = |slices: &[_]| select(slices, port, policy, node, rules);
    select(&ipv4).into_iter().chain(select(&ipv6)).collect()
}

/// The endpoints of one family, and which of them connections from this node may go to.
///
/// Line by line the rules of `docs/endpoints.md`; `CategorizeEndpoints` of kube-proxy.
pub fn select(
    slices: &[&EndpointSlice],
    port: &ServicePort,
    policy: TrafficPolicy,
    node: Option<&Node>,
    rules: &[WeightRule],
) -> Vec<(BackendAddr, Details)> {
    let found = merged(slices, port, node);
    let allowed = |endpoint: &Endpoint| match policy {
        TrafficPolicy::Cluster => true,
        TrafficPolicy::Local => is_local(endpoint, node),
    };
    let ready: Vec<_> = found.values().copied().filter(|e| allowed(e) && is_ready(e)).collect();
    let reach = match policy {
        TrafficPolicy::Cluster => Reach::of(&ready, node),
        TrafficPolicy::Local => Reach::All,
    };
    let usable = |endpoint: &Endpoint| {
        allowed(endpoint)
            && if ready.is_empty() {
                is_serving_terminating(endpoint)
            } else {
                is_ready(endpoint) && reach.allows(endpoint)
            }
    };
    let of = |endpoint: &Endpoint| details(endpoint, usable(endpoint), rules);
    found.iter().map(|(addr, endpoint)| (*addr, of(endpoint))).collect()
}

/// The endpoints of each node, by its name and whether they are of IPv4, and which of them may be used
/// by connections that must stay on that node: as [`select`] has it there with
/// [`TrafficPolicy::Local`].
pub fn by_node<'a>(
    slices: &[&'a EndpointSlice],
    port: &ServicePort,
    rules: &[WeightRule],
) -> BTreeMap<(&'a str, bool), Vec<(BackendAddr, Details)>> {
    let mut found: BTreeMap<_, Vec<(BackendAddr, &Endpoint)>> = BTreeMap::new();
    for (addr, endpoint) in merged(slices, port, None) {
        if let Some(node) = endpoint.place.node.as_deref() {
            found.entry((node, endpoint.address.is_ipv4())).or_default().push((addr, endpoint));
        }
    }
    let of_node = |endpoints: Vec<(BackendAddr, &Endpoint)>| {
        let some_ready = endpoints.iter().any(|(_, endpoint)| is_ready(endpoint));
        let details = |(addr, endpoint): (BackendAddr, &Endpoint)| {
            let usable =
                if some_ready { is_ready(endpoint) } else { is_serving_terminating(endpoint) };
            (addr, details(endpoint, usable, rules))
        };
        endpoints.into_iter().map(details).collect()
    };
    found.into_iter().map(|(node, endpoints)| (node, of_node(endpoints))).collect()
}

fn details(endpoint: &Endpoint, usable: bool, rules: &[WeightRule]) -> Details {
    Details {
        place: Arc::clone(&endpoint.place),
        terminating: endpoint.terminating,
        usable,
        serving: endpoint.serving || is_ready(endpoint),
        weight: weights::of(rules, endpoint),
    }
}

/// The endpoints of a Service port, each once. Endpoints stand in several slices while the
/// controller moves them, and an address passes from a pod that has ended to a new one: the one that is
/// ready counts, else the one that serves, and only between equals the one of this node.
fn merged<'a>(
    slices: &[&'a EndpointSlice],
    port: &ServicePort,
    node: Option<&Node>,
) -> BTreeMap<BackendAddr, &'a Endpoint> {
    let rank =
        |e: &Endpoint| (is_ready(e), is_serving_terminating(e), e.serving, is_local(e, node));
    let mut found: BTreeMap<BackendAddr, &Endpoint> = BTreeMap::new();
    for slice in slices {
        let numbers = slice
            .ports
            .iter()
            .filter(|p| p.name == port.name && p.protocol == port.protocol)
            .map(|p| p.port);
        for number in numbers {
            for endpoint in &slice.endpoints {
                let addr = SocketAddr::new(endpoint.address, number);
                let addr = BackendAddr::new(addr, port.protocol);
                let known = found.entry(addr).or_insert(endpoint);
                if rank(endpoint) > rank(known) {
                    *known = endpoint;
                }
            }
        }
    }
    found
}

pub(super) fn is_local(endpoint: &Endpoint, node: Option<&Node>) -> bool {
    node.is_some_and(|node| endpoint.place.node.as_deref() == Some(&*node.name))
}

const fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.ready
}

const fn is_serving_terminating(endpoint: &Endpoint) -> bool {
    endpoint.serving && endpoint.terminating
}

#[cfg(test)]
mod tests;
