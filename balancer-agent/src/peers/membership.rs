//! Who the peers are: the endpoints of the headless Service of the agents. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::name::NodeId;
use crate::model::{Endpoint, EndpointSlice, Headless, ObjectRef, Problem, Protocol, State};

/// Name of the port of the Service.
pub const PORT: &str = "peers";

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of its node.
    pub node: String,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Peers by node, this node among them, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// By name of the node, as datagrams have it.
    pub members: BTreeMap<NodeId, Member>,
    /// What is wrong with the Service, and what to do about it.
    pub problems: Vec<Problem>,
}

/// All of a state that [`membership`] looks at.
#[derive(Debug)]
pub struct Basis {
    headless: Headless,
    is_balanced: bool,
    slices: Vec<EndpointSlice>,
}

impl Basis {
    /// That of a state.
    pub fn new(state: &State, service: &ObjectRef) -> Self {
        Self {
            headless: state.headless.clone(),
            is_balanced: state.services.contains_key(service),
            slices: state.slices.of(service).cloned().collect(),
        }
    }

    /// True if a state has the same.
    pub fn is_of(&self, state: &State, service: &ObjectRef) -> bool {
        self.is_balanced == state.services.contains_key(service)
            && self.slices.iter().eq(state.slices.of(service))
            && self.headless == state.headless
    }
}

/// Who the peers are, by the endpoints of a Service. One that is not ready takes part, too: it is
/// about to be. `ipv6` says whether such addresses can be reached.
pub fn membership(state: &State, service: &ObjectRef, ipv6: bool) -> Membership {
    let mut found = Membership::default();
    let object = format!("Service {service}");
    let mut tell = |field: &str, message: String| {
        found.problems.push(Problem { object: object.clone(), field: field.to_owned(), message });
    };
    if !state.headless.services.contains(service) {
        if state.services.contains_key(service) {
            tell(
                "spec.clusterIP",
                "it is not headless, and can't be that of the peers: this node counts alone; set \
                 spec.clusterIP: None"
                    .to_owned(),
            );
        } else {
            tell(
                "",
                "there is no such headless Service, which --peers names: this node counts alone; \
                 create it, or name the right one"
                    .to_owned(),
            );
        }
        return found;
    }
    let slices: Vec<_> = {
        let all = state.headless.slices.of(service).chain(state.slices.of(service));
        all.collect()
    };
    // IPv4 first, then who stays: the first address of a node counts.
    let mut endpoints: Vec<(&Endpoint, u16)> = Vec::new();
    let mut portless = 0;
    for slice in slices {
        match port(slice) {
            Some(port) => endpoints.extend(slice.endpoints.iter().map(|found| (found, port))),
            None => portless += slice.endpoints.len(),
        }
    }
    if portless > 0 {
        tell(
            "spec.ports",
            format!(
                "{portless} of its endpoints have no UDP port named {PORT}, and are no peers; add \
                 the port"
            ),
        );
    }
    endpoints.retain(|(endpoint, _)| ipv6 || endpoint.address.is_ipv4());
    endpoints.sort_by_key(|(endpoint, port)| {
        (endpoint.terminating, endpoint.address.is_ipv6(), endpoint.address, *port)
    });
    let mut nameless = 0;
    let mut twice = BTreeSet::new();
    for (endpoint, port) in endpoints {
        let Some(node) = endpoint.place.node.as_deref() else {
            nameless += 1;
            continue;
        };
        let addr = SocketAddr::new(endpoint.address, port);
        let member = Member { node: node.to_owned(), addr };
        let id = NodeId::of(node);
        match found.members.get(&id) {
            None => drop(found.members.insert(id, member)),
            Some(known)
                if known.addr != addr
                    && known.addr.is_ipv4() == addr.is_ipv4()
                    && !endpoint.terminating =>
            {
                twice.insert((node, known.addr, addr));
            }
            Some(_) => {}
        }
    }
    if nameless > 0 {
        let message = format!("{nameless} of its endpoints have no nodeName, and are no peers");
        found.problems.push(Problem { object: object.clone(), field: String::new(), message });
    }
    for (node, first, second) in twice {
        let message = format!(
            "two agents say that they are node {node}, at {first} and {second}: the second one is \
             not heard; give each its own --node-name"
        );
        found.problems.push(Problem { object: object.clone(), field: String::new(), message });
    }
    found.problems = Problem::bounded(found.problems);
    found
}

fn port(slice: &EndpointSlice) -> Option<u16> {
    let is_it = |protocol, name: &str| protocol == Protocol::Udp && name == PORT;
    slice.ports.iter().find(|port| is_it(port.protocol, &port.name)).map(|port| port.port)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{EndpointPort, Place};

    fn service() -> ObjectRef {
        ObjectRef { namespace: "kube-system".into(), name: "balancer-agent-peers".into() }
    }

    fn slice(name: &str, port: &str, endpoints: &[(&str, Option<&str>)]) -> EndpointSlice {
        let endpoint = |(address, node): &(&str, Option<&str>)| Endpoint {
            address: address.parse().unwrap(),
            ready: false,
            serving: true,
            terminating: false,
            place: Arc::new(Place { node: node.map(Into::into), zone: None }),
            pod: None,
            hints: None,
        };
        let id = ObjectRef { name: name.into(), ..service() };
        EndpointSlice {
            id,
            service: service().name,
            triggered: None,
            ports: vec![EndpointPort { name: port.into(), port: 10_357, protocol: Protocol::Udp }],
            endpoints: endpoints.iter().map(endpoint).collect(),
        }
    }

    fn state(slices: Vec<EndpointSlice>) -> State {
        let services = [service()].into();
        State {
            headless: Headless { services, slices: slices.into_iter().collect() },
            ..State::default()
        }
    }

    fn members(found: &Membership) -> Vec<(String, String)> {
        let mut members: Vec<_> =
            found.members.values().map(|m| (m.node.clone(), m.addr.to_string())).collect();
        members.sort();
        members
    }

    #[test]
    fn peers_are_the_endpoints_ready_or_not() {
        let state = state(vec![
            slice("a", PORT, &[("192.0.2.1", Some("n1")), ("192.0.2.2", Some("n2"))]),
            slice("b", PORT, &[("2001:db8::1", Some("n1")), ("2001:db8::3", Some("n3"))]),
        ]);
        let found = membership(&state, &service(), true);
        let want =
            [("n1", "192.0.2.1:10357"), ("n2", "192.0.2.2:10357"), ("n3", "[2001:db8::3]:10357")];
        assert_eq!(members(&found), want.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(found.problems, []);
        assert_eq!(membership(&state, &service(), false).members.len(), 2);
    }

    #[test]
    fn who_they_are_is_found_again_where_anything_differs_that_counts() {
        let one = state(vec![slice("a", PORT, &[("192.0.2.1", Some("n1"))])]);
        let two = state(vec![slice("a", PORT, &[("192.0.2.2", Some("n1"))])]);
        let labelled = State { slices: one.headless.slices.clone(), ..one.clone() };
        let states = [State::default(), one, two, labelled];
        for (index, state) in states.iter().enumerate() {
            let basis = Basis::new(state, &service());
            let same: Vec<_> = states.iter().map(|other| basis.is_of(other, &service())).collect();
            assert_eq!(same, [0, 1, 2, 3].map(|other| other == index), "{index}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |state: &State| {
            let problems = membership(state, &service(), true).problems;
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert!(told(&State::default()).contains("there is no such headless Service"));
        let portless = state(vec![slice("a", "metrics", &[("192.0.2.1", Some("n1"))])]);
        assert!(told(&portless).contains("1 of its endpoints have no UDP port named peers"));
        let nameless = state(vec![slice("a", PORT, &[("192.0.2.1", None)])]);
        assert!(told(&nameless).contains("1 of its endpoints have no nodeName"));
        let twice = [("192.0.2.1", Some("n1")), ("192.0.2.2", Some("n1"))];
        let mut twice = slice("a", PORT, &twice);
        let words = "two agents say that they are node n1, at 192.0.2.1:10357 and 192.0.2.2:10357";
        assert!(told(&state(vec![twice.clone()])).contains(words));
        // One takes over from the other.
        twice.endpoints[0].terminating = true;
        let state = state(vec![twice]);
        assert_eq!(told(&state), "");
        let found = membership(&state, &service(), true);
        assert_eq!(members(&found), [("n1".to_owned(), "192.0.2.2:10357".to_owned())]);
    }

    #[test]
    fn a_folder_has_them_too() {
        let folder = tempfile::tempdir().unwrap();
        let text = "\
            apiVersion: v1\nkind: Service\n\
            metadata: {name: balancer-agent-peers, namespace: kube-system}\n\
            spec: {clusterIP: None, ports: [{name: peers, port: 10357, protocol: UDP}]}\n---\n\
            apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
            metadata:\n  name: a\n  namespace: kube-system\n  labels:\n    \
            kubernetes.io/service-name: balancer-agent-peers\n    \
            service.kubernetes.io/headless: ''\n\
            addressType: IPv4\nports: [{name: peers, port: 10357, protocol: UDP}]\n\
            endpoints: [{addresses: [192.0.2.1], nodeName: n1, conditions: {ready: false}}]\n";
        std::fs::write(folder.path().join("peers.yaml"), text).unwrap();
        let state = crate::source::Manifests::read_once(folder.path(), Some("n1")).unwrap();
        assert_eq!(state.problems, []);
        assert!(state.slices.is_empty(), "nothing that is balanced");
        let found = membership(&state, &service(), true);
        assert_eq!(members(&found), [("n1".to_owned(), "192.0.2.1:10357".to_owned())]);
        assert_eq!(found.problems, []);
    }
}
