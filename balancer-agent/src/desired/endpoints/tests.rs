//! The rules of `docs/endpoints.md`, a row each, seen from node `n1` in zone `z1`.

use super::*;
use crate::model::{EndpointPort, Hints, ObjectRef, Place, Protocol};

/// An endpoint in words: its conditions (r, s, t), then any of `node=`, `for-node=`, `for-zone=`.
fn endpoint(index: usize, text: &str) -> Endpoint {
    let mut words = text.split(' ');
    let conditions = words.next().unwrap();
    let mut endpoint = Endpoint {
        address: [10, 0, 0, index as u8 + 1].into(),
        ready: conditions.contains('r'),
        serving: conditions.contains('s'),
        terminating: conditions.contains('t'),
        place: Arc::default(),
        pod: None,
        hints: None,
    };
    let mut hints = Hints::default();
    for word in words {
        match word.split_once('=').unwrap() {
            ("node", name) => {
                endpoint.place = Place { node: Some(name.into()), zone: None }.into();
            }
            ("for-node", name) => hints.nodes.push(name.into()),
            ("for-zone", name) => hints.zones.push(name.into()),
            (other, _) => panic!("{other} in {text:?}"),
        }
    }
    endpoint.hints = Some(hints.into());
    endpoint
}

fn slice(endpoints: Vec<Endpoint>) -> EndpointSlice {
    let id = ObjectRef { namespace: "shop".into(), name: "web-1".into() };
    let ports = vec![EndpointPort { name: String::new(), port: 8080, protocol: Protocol::Tcp }];
    EndpointSlice { id, service: "web".into(), triggered: None, ports, endpoints }
}

fn n1(zone: Option<&str>) -> Node {
    Node { name: "n1".into(), zone: zone.map(str::to_owned), ..Node::default() }
}

/// Which endpoints may be used, by their number from 1.
fn usable(slices: &[EndpointSlice], policy: TrafficPolicy, node: Option<&Node>) -> Vec<u8> {
    let port = ServicePort {
        name: String::new(),
        port: 80,
        node_port: None,
        requests_only: false,
        protocol: Protocol::Tcp,
    };
    let backends = select(&slices.iter().collect::<Vec<_>>(), &port, policy, node, &[]);
    let usable = backends.iter().filter(|(_, details)| details.usable);
    let number = |addr: &BackendAddr| match addr.addr() {
        SocketAddr::V4(addr) => addr.ip().octets()[3],
        SocketAddr::V6(addr) => panic!("{addr} has no number"),
    };
    usable.map(|(addr, _)| number(addr)).collect()
}

fn check(policy: TrafficPolicy, table: &[(&[&str], &[u8])]) {
    for (endpoints, expected) in table {
        let found = endpoints.iter().enumerate().map(|(index, text)| endpoint(index, text));
        let slices = [slice(found.collect())];
        assert_eq!(usable(&slices, policy, Some(&n1(Some("z1")))), *expected, "{endpoints:?}");
    }
}

/// Each node has what a connection may use that must stay there.
#[test]
fn endpoints_of_each_node_are_judged_apart() {
    let words =
        ["rs node=n1", "st node=n1", "st node=n2", "s node=n2", "rs", "s node=n3", "rs node=n4"];
    let found = words.iter().enumerate().map(|(index, text)| endpoint(index, text));
    let slice = slice(found.collect());
    let port = ServicePort {
        name: String::new(),
        port: 80,
        node_port: None,
        requests_only: false,
        protocol: Protocol::Tcp,
    };
    let by_node = by_node(&[&slice], &port, &[]);
    assert_eq!(by_node.keys().map(|(node, _)| *node).collect::<Vec<_>>(), ["n1", "n2", "n3", "n4"]);
    for ((name, _), backends) in by_node {
        let node = Node { name: name.into(), ..Node::default() };
        let all = select(&[&slice], &port, TrafficPolicy::Local, Some(&node), &[]);
        let of_node = all.into_iter().filter(|(_, d)| d.place.node.as_deref() == Some(name));
        assert_eq!(backends, of_node.collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn conditions() {
    check(
        TrafficPolicy::Cluster,
        &[
            (&[], &[]),
            // Ready ones first,
            (&["rs", "rs"], &[1, 2]),
            (&["rs", ""], &[1]),
            (&["rs", "st"], &[1]),
            // a ready one counts even while it terminates (publishNotReadyAddresses),
            (&["rst", "st"], &[1]),
            // else serving and terminating ones,
            (&["st", "t"], &[1]),
            (&["st", "st"], &[1, 2]),
            // else none.
            (&["s", "t"], &[]),
            (&["", ""], &[]),
        ],
    );
}

#[test]
fn hints() {
    check(
        TrafficPolicy::Cluster,
        &[
            // Every ready endpoint has node hints and one names this node: those.
            (&["rs for-node=n1", "rs for-node=n2"], &[1]),
            (&["rs for-node=n1", "rs for-node=n2 for-node=n1"], &[1, 2]),
            // Node hints before zone hints,
            (&["rs for-node=n1 for-zone=z1", "rs for-node=n2 for-zone=z1"], &[1]),
            // but not if one has none, or none names this node.
            (&["rs for-node=n1 for-zone=z1", "rs for-zone=z1"], &[1, 2]),
            (&["rs for-node=n3 for-zone=z1", "rs for-node=n2 for-zone=z2"], &[1]),
            // Zone hints likewise,
            (&["rs for-zone=z1", "rs for-zone=z2"], &[1]),
            (&["rs for-zone=z1", "rs for-zone=z2 for-zone=z1"], &[1, 2]),
            // else all.
            (&["rs for-zone=z1", "rs"], &[1, 2]),
            (&["rs for-zone=z2", "rs for-zone=z3"], &[1, 2]),
            // Only ready endpoints are asked for hints,
            (&["rs for-zone=z1", "rs for-zone=z2", "st", "s"], &[1]),
            (&["s for-zone=z1", "rs for-zone=z2"], &[2]),
            // and hints do not count where there are none that are ready.
            (&["st for-zone=z1", "st for-zone=z2"], &[1, 2]),
        ],
    );
}

#[test]
fn the_local_policy() {
    check(
        TrafficPolicy::Local,
        &[
            // Endpoints of this node alone,
            (&["rs node=n1", "rs node=n2", "rs"], &[1]),
            // also if there is none,
            (&["rs node=n2"], &[]),
            // ready ones first, as if there were no other nodes,
            (&["rs node=n1", "st node=n1"], &[1]),
            (&["st node=n1", "rs node=n2"], &[1]),
            (&["s node=n1", "rs node=n2"], &[]),
            // and whatever the hints say.
            (&["rs node=n1 for-zone=z2", "rs node=n2 for-zone=z1"], &[1]),
        ],
    );
}

#[test]
fn what_is_not_known_of_the_node_is_no_reason_to_choose() {
    let slices = |texts: [&str; 2]| [slice(vec![endpoint(0, texts[0]), endpoint(1, texts[1])])];
    let zones = slices(["rs for-zone=z1", "rs for-zone=z2"]);
    assert_eq!(usable(&zones, TrafficPolicy::Cluster, Some(&n1(None))), [1, 2]);
    assert_eq!(usable(&zones, TrafficPolicy::Cluster, None), [1, 2]);
    let local = slices(["rs node=n1", "rs"]);
    assert_eq!(usable(&local, TrafficPolicy::Local, None), [0; 0]);
}

#[test]
fn of_one_address_twice_the_one_that_is_ready_counts() {
    // Each pair has one address; usable under Cluster, and under Local.
    for (pair, cluster, local) in [
        (["t node=n1", "rs node=n2"], true, false),
        (["st node=n1", "rs node=n2"], true, false),
        (["s node=n1", "st node=n2"], true, false),
        ([" node=n1", "st node=n2"], true, false),
        (["rs node=n1", "st node=n2"], true, true),
        (["rs node=n1", "rs node=n2"], true, true),
        (["st node=n1", "st node=n2"], true, true),
        (["t node=n1", "t node=n2"], false, false),
    ] {
        let [a, b] = pair.map(|text| endpoint(0, text));
        for order in [vec![a.clone(), b.clone()], vec![b, a]] {
            let one = [slice(order.clone())];
            let two: Vec<_> = order.into_iter().map(|endpoint| slice(vec![endpoint])).collect();
            for slices in [&one[..], &two[..]] {
                for (policy, want) in
                    [(TrafficPolicy::Cluster, cluster), (TrafficPolicy::Local, local)]
                {
                    let found = usable(slices, policy, Some(&n1(None)));
                    assert_eq!(!found.is_empty(), want, "{pair:?} {policy:?}");
                }
            }
        }
    }
}
