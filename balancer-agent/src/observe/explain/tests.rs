use std::collections::BTreeSet;

use balancer_common::{
    layout::{NodeAddress, Pin, Place},
    policy::Policy,
};

use super::*;
use crate::{
    apply::apply,
    desired::Desired,
    maps::{
        ClusterCounts as _, KeepSeats as _, ReadMaps as _, WriteMaps as _, in_memory::InMemoryMaps,
    },
    model::Protocol,
    observe::{Snapshot, views},
    plan::{Extent, book::Book, plan, rows::rows},
    testing::services::{LIMITS, backend, desired, port_id},
};

/// Maps that balance what is desired.
fn written(desired: &Desired) -> InMemoryMaps {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut book = Book::read(&maps).expect("empty maps");
    let plan = plan(&mut book, &rows(&desired.ports), Extent::All(&BTreeSet::new()), &maps);
    assert_eq!(apply(&mut maps, &plan).problems, []);
    maps
}

fn dial(last: u8, port: u16) -> ExplainQuestion {
    ExplainQuestion {
        address: [10, 96, 0, last].into(),
        port,
        protocol: Protocol::Tcp,
        pod_namespace: None,
        pod: None,
    }
}

fn told(
    maps: &InMemoryMaps,
    desired: &Desired,
    client: Option<&Client>,
    question: &ExplainQuestion,
) -> ExplainView {
    let services = views::services(&Snapshot::read(maps).expect("maps"), Some(desired));
    explain(maps, &services, client, question, || "somebody".into()).expect("maps")
}

fn pod(last: u8) -> Client {
    Client {
        pod: ObjectRef { namespace: "shop".into(), name: "client".into() },
        opted_out: false,
        addresses: vec![[10, 1, 0, last].into()],
    }
}

fn id_of(maps: &InMemoryMaps, last: u8) -> u32 {
    let is_it = |id: &u32| convert::backend_addr(&maps.backend(*id)) == Some(backend(last));
    (1..LIMITS.backends).find(is_it).expect("a backend")
}

/// Last bytes of the candidates and their odds, in tenths.
fn chances(view: &ExplainView) -> Vec<(u8, Option<u32>)> {
    let last = |candidate: &CandidateView| match candidate.address {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    };
    let tenths = |odds: f64| (odds * 10.0).round() as u32;
    view.candidates.iter().map(|c| (last(c), c.odds.map(tenths))).collect()
}

#[test]
fn the_fewest_connections_win() {
    let desired = desired(&[("web", &[10], &[1, 2, 3])]);
    let mut maps = written(&desired);
    maps.set_active(id_of(&maps, 2), 4);
    let view = told(&maps, &desired, None, &dial(10, 80));
    assert_eq!((view.verdict.as_str(), view.errno), ("balanced", None));
    assert_eq!(view.service.as_ref().map(ToString::to_string).as_deref(), Some("shop/web"));
    assert_eq!(view.frontend.as_deref(), Some("ClusterIP"));
    assert_eq!(chances(&view), [(1, Some(5)), (3, Some(5)), (2, Some(0))]);
    assert_eq!(view.candidates[2].own, 4);
    assert_eq!(view.why, "the fewest connections from this node; 2 of 3 candidates can be chosen");
    let mapped = ExplainQuestion { address: "::ffff:10.96.0.10".parse().unwrap(), ..dial(10, 80) };
    assert_eq!(told(&maps, &desired, None, &mapped), view, "as connect6 reads it");
}

#[test]
fn what_is_no_service_says_what_is_near() {
    let desired = desired(&[("web", &[10], &[1])]);
    let maps = written(&desired);
    for (question, want) in [
        (
            dial(10, 81),
            "10.96.0.10 is an address (ClusterIP) of Service shop/web, where 80/TCP can",
        ),
        (dial(11, 80), "no Service that is balanced here has 10.96.0.11:80"),
        (
            ExplainQuestion { address: [10, 0, 0, 1].into(), ..dial(0, 80) },
            "10.0.0.1 is a backend of Service shop/web, dialled directly",
        ),
    ] {
        let view = told(&maps, &desired, None, &question);
        assert_eq!((view.verdict.as_str(), view.errno), ("not-service", None));
        assert_eq!(view.otherwise.as_deref(), Some("somebody"));
        assert!(view.why.starts_with(want), "{}", view.why);
    }
}

#[test]
fn refusals_have_their_errno_and_reason() {
    let mut desired = desired(&[("web", &[10], &[1])]);
    let port = desired.ports.get_mut(&port_id("web")).expect("a port");
    port.backends.values_mut().for_each(|details| details.usable = false);
    let view = told(&written(&desired), &desired, None, &dial(10, 80));
    assert_eq!(view.verdict, "no-endpoint");
    assert_eq!((view.errno, view.error.as_deref()), (Some(111), Some("ECONNREFUSED")));
    assert_eq!(view.otherwise, None, "nobody else is asked");

    let port = desired.ports.get_mut(&port_id("web")).expect("a port");
    port.local = true;
    port.elsewhere.ipv4 = true;
    let view = told(&written(&desired), &desired, None, &dial(10, 80));
    assert_eq!((view.verdict.as_str(), view.errno), ("no-local-endpoint", Some(113)));

    let opted_out = Client { opted_out: true, ..pod(1) };
    let view = told(&written(&desired), &desired, Some(&opted_out), &dial(10, 80));
    assert_eq!((view.verdict.as_str(), view.errno), ("opted-out", None));
    assert!(view.otherwise.is_some());
}

#[test]
fn source_ranges_are_read_as_programs_read_them() {
    let mut desired = desired(&[("web", &[10], &[1])]);
    let port = desired.ports.get_mut(&port_id("web")).expect("a port");
    port.source_ranges = vec!["10.1.0.0/30".parse().unwrap()];
    port.frontends.iter_mut().for_each(|frontend| frontend.kind = FrontendKind::LoadBalancer);
    let mut maps = written(&desired);
    maps.set_clients(&[(7, pod(1).addresses), (8, pod(9).addresses)].into()).expect("written");
    for (client, want) in [
        (Some(pod(1)), "balanced"),
        (Some(pod(9)), "source-denied"),
        (Some(pod(2)), "source-unknown"),
        (None, "balanced"),
    ] {
        let view = told(&maps, &desired, client.as_ref(), &dial(10, 80));
        assert_eq!(view.verdict, want, "{client:?}");
        assert_eq!(view.notes.is_empty(), client.is_some(), "{view:?}");
    }
}

#[test]
fn a_client_stays_with_its_backend() {
    let mut desired = desired(&[("web", &[10], &[1, 2])]);
    let port = desired.ports.get_mut(&port_id("web")).expect("a port");
    port.options.affinity = 10_800;
    let mut maps = written(&desired);
    maps.set_clients(&[(7, pod(1).addresses)].into()).expect("written");
    let (second, name) = (id_of(&maps, 2), maps.names().expect("names")[0].0);
    let group = maps.settings(name).group;
    let used = (clock::now().as_nanos() as u64 >> TICK_SHIFT) as u32;
    maps.set_active(second, 9);
    maps.pins.insert((7, group), Pin { backend: second, used });
    let view = told(&maps, &desired, Some(&pod(1)), &dial(10, 80));
    assert_eq!(chances(&view), [(2, Some(10)), (1, Some(0))]);
    assert!(view.why.starts_with("session affinity: the client had 10.0.0.2:80"), "{}", view.why);
    let view = told(&maps, &desired, Some(&pod(2)), &dial(10, 80));
    assert_eq!(chances(&view), [(1, Some(10)), (2, Some(0))], "another client");
    maps.suspect(second, u64::MAX);
    let view = told(&maps, &desired, Some(&pod(1)), &dial(10, 80));
    assert_eq!(chances(&view), [(1, Some(10)), (2, Some(0))], "it gives way");
    maps.suspect(id_of(&maps, 1), u64::MAX);
    let view = told(&maps, &desired, Some(&pod(1)), &dial(10, 80));
    assert_eq!(chances(&view), [(2, Some(10)), (1, Some(0))], "all are, it may as well stay");
}

#[test]
fn the_next_connection_takes_a_seat() {
    let desired = desired(&[("web", &[10], &[1, 2, 3])]);
    let mut maps = written(&desired);
    let (service, third) = (maps.names().expect("names")[0].0, id_of(&maps, 3));
    maps.set_active(third, 9);
    assert!(maps.add_seats(service, third, 1));
    let view = told(&maps, &desired, None, &dial(10, 80));
    assert_eq!(chances(&view), [(3, Some(10)), (1, Some(0)), (2, Some(0))]);
    assert!(view.why.contains("takes its seat at 10.0.0.3:80"), "{}", view.why);
    maps.suspect(third, u64::MAX);
    let view = told(&maps, &desired, None, &dial(10, 80));
    assert_eq!(chances(&view), [(1, Some(5)), (2, Some(5)), (3, Some(0))], "that one is suspect");
}

#[test]
fn connections_of_all_nodes_are_shown_where_they_count() {
    let mut desired = desired(&[("web", &[10], &[1, 2])]);
    let port = desired.ports.get_mut(&port_id("web")).expect("a port");
    port.options.policy = Policy::Random;
    let maps = written(&desired);
    let service = maps.names().expect("names")[0].0;
    let fresh_ms = maps.now_ms;
    maps.set_level(service, Level { floor: 1_023, span: 1_024, fresh_ms });
    let view = told(&maps, &desired, None, &dial(10, 80));
    assert!(!view.counts_cluster);
    assert!(view.candidates.iter().all(|one| one.cluster.is_none()), "{:?}", view.candidates);
}

#[test]
fn one_that_failed_is_tried_once_its_pause_is_over() {
    let desired = desired(&[("web", &[10], &[1, 2])]);
    let mut maps = written(&desired);
    maps.suspect(id_of(&maps, 1), u64::MAX);
    let view = told(&maps, &desired, None, &dial(10, 80));
    assert_eq!(chances(&view), [(2, Some(10)), (1, Some(0))]);
    assert_eq!(view.candidates[1].state, BackendState::Suspect);
    maps.suspect(id_of(&maps, 1), 1);
    let view = told(&maps, &desired, None, &dial(10, 80));
    assert_eq!(chances(&view), [(1, Some(10)), (2, Some(0))]);
    assert!(view.why.contains("tries whether it answers again"), "{}", view.why);
}

#[test]
fn turns_are_told_exactly() {
    let mut desired = desired(&[("web", &[10], &[1, 2, 3])]);
    let port = desired.ports.get_mut(&port_id("web")).expect("a port");
    port.options.policy = Policy::RoundRobin;
    let mut maps = written(&desired);
    let service = maps.names().expect("names")[0].0;
    let mut next = Vec::new();
    for turn in 0..3 {
        maps.cursors.insert(service, turn);
        let view = told(&maps, &desired, None, &dial(10, 80));
        assert_eq!(view.candidates[0].odds, Some(1.0));
        next.push(view.candidates[0].address);
    }
    next.sort();
    next.dedup();
    assert_eq!(next.len(), 3, "each in turn");
}

#[test]
fn a_node_port_is_found_at_the_addresses_of_nodes() {
    let mut desired = desired(&[("web", &[10], &[1])]);
    let port = desired.ports.get_mut(&port_id("web")).expect("a port");
    port.frontends.extend([Place::ThisNode, Place::OtherNode].map(|place| FrontendAddr {
        kind: FrontendKind::NodePort,
        addr: (FrontendAddr::anywhere(place, true), 30_080).into(),
        protocol: Protocol::Tcp,
    }));
    let mut maps = written(&desired);
    let node = |place: Place, netns| NodeAddress { netns, place: place as u32, zero: 0 };
    let nodes = [
        ([10, 96, 0, 2].into(), node(Place::OtherNode, 0)),
        ([10, 96, 0, 3].into(), node(Place::ThisNode, 7)),
    ];
    maps.set_nodes(&nodes.into()).expect("written");
    let other = told(&maps, &desired, None, &dial(2, 30_080));
    assert_eq!((other.verdict.as_str(), other.frontend.as_deref()), ("balanced", Some("NodePort")));
    assert_eq!(other.notes, [""; 0]);
    let this = told(&maps, &desired, None, &dial(3, 30_080));
    assert_eq!(this.verdict, "balanced");
    assert_eq!(this.notes, ["captured for processes in the network of the node alone"]);
    maps.set_clients(&[(7, pod(1).addresses), (8, pod(2).addresses)].into()).expect("written");
    for (last, verdict) in [(1, "balanced"), (2, "not-service")] {
        let told = told(&maps, &desired, Some(&pod(last)), &dial(3, 30_080));
        assert_eq!(told.verdict, verdict, "{last}");
    }
    for (last, port) in [(2, 80), (4, 30_080)] {
        assert_eq!(told(&maps, &desired, None, &dial(last, port)).verdict, "not-service");
    }
}
