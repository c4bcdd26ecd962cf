use std::collections::BTreeMap;

use balancer_common::policy::Policy;

use super::*;
use crate::{
    desired::{Elsewhere, Options, backends::Backends},
    maps::Settings,
    model::{ObjectRef, Place, Protocol},
};

fn id() -> PortId {
    let service = ObjectRef { namespace: "shop".into(), name: "web".into() };
    PortId { service, port: "http".into(), protocol: Protocol::Tcp }
}

fn addr(last: u8) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, last], 80).into(), Protocol::Tcp)
}

fn backends(found: &[(u8, u16)]) -> Backends {
    let details = |weight| Details {
        place: Place { node: Some(format!("n{weight}").into()), zone: None }.into(),
        terminating: false,
        usable: true,
        serving: true,
        weight,
    };
    found.iter().map(|(last, weight)| (addr(*last), details(*weight))).collect()
}

fn found(last: u8, in_row: bool) -> BackendSnapshot {
    BackendSnapshot {
        backend: addr(last),
        in_row,
        weight: 1,
        active: 1,
        opened: 1,
        failed: 0,
        suspect: false,
        suspected: 0,
    }
}

#[test]
fn what_is_not_ready_is_told_from_what_drains() {
    let mut known = crate::testing::services::port(&[1], &[1, 2, 3]);
    for (details, (serving, terminating)) in
        known.backends.values_mut().zip([(false, false), (true, true), (true, false)])
    {
        details.usable = false;
        (details.serving, details.terminating) = (serving, terminating);
    }
    let state = |last, in_row| backend(&found(last, in_row), Some(&known), true).state;
    assert_eq!(state(1, false), BackendState::NotReady);
    assert_eq!(state(2, false), BackendState::Draining, "terminates");
    assert_eq!(state(3, false), BackendState::Draining, "drained by hand");
    assert_eq!(state(4, false), BackendState::Draining, "left the Service");
    assert_eq!(
        backend(&found(1, false), None, true).state,
        BackendState::Draining,
        "nothing is known"
    );
}

#[test]
fn a_service_port_without_an_endpoint_is_told_with_what_its_clients_get() {
    let mut desired =
        crate::testing::services::desired(&[("web", &[10], &[1, 2]), ("api", &[11], &[3])]);
    assert_eq!(refused(&desired), []);
    let port = desired.ports.get_mut(&crate::testing::services::port_id("web")).expect("a port");
    for details in port.backends.values_mut() {
        (details.usable, details.serving) = (false, false);
    }
    let told = refused(&desired);
    let [one] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (one.service.as_str(), one.error.as_str(), one.not_ready),
        ("web", "ECONNREFUSED", 2)
    );
    let port = desired.ports.get_mut(&crate::testing::services::port_id("web")).expect("a port");
    (port.local, port.elsewhere.ipv4) = (true, true);
    assert_eq!(refused(&desired)[0].error, "EHOSTUNREACH");
    // Clients of its node port are served by other nodes, and those of the ClusterIP are refused as before.
    let api = desired.ports[&crate::testing::services::port_id("api")].backends.clone();
    let port = desired.ports.get_mut(&crate::testing::services::port_id("web")).expect("a port");
    port.external = Some(api);
    assert_eq!(refused(&desired)[0].error, "EHOSTUNREACH");
}

#[test]
fn what_is_desired_is_shown_beside_what_the_maps_tell() {
    let in_map = |last| BackendSnapshot {
        backend: addr(last),
        in_row: last != 3,
        weight: if last == 2 { 7 } else { 1 },
        active: 1,
        opened: 2,
        failed: 0,
        suspect: false,
        suspected: 0,
    };
    let held = PortSnapshot {
        number: 80,
        settings: Settings {
            policy: Policy::WeightedLeastConnections,
            affinity: 60,
            slow_start: 30,
            keeps_suspects: false,
            stays: false,
            outside: None,
            group: 0,
        },
        frontends: Vec::new(),
        backends: [1, 2, 3].map(in_map).into(),
    };
    let snapshot = Snapshot { ports: BTreeMap::from([(id(), held)]), ..Snapshot::default() };
    let port = DesiredPort {
        number: 80,
        frontends: Vec::new(),
        backends: backends(&[(1, 5)]),
        external: Some(backends(&[(1, 5), (2, 7)])),
        at_nodes: None,
        outside: None,
        local: true,
        elsewhere: Elsewhere::default(),
        options: Options::default(),
        moving: Default::default(),
        requests_only: false,
        source_ranges: vec!["192.0.2.0/24".parse().unwrap()],
    };
    let desired = Desired { ports: BTreeMap::from([(id(), port)]), ..Desired::default() };

    let [view] = &services(&snapshot, Some(&desired))[..] else { panic!("one port") };
    assert_eq!(view.policy, "weighted-least-connections");
    assert_eq!((view.affinity_s, view.slow_start_s), (Some(60), Some(30)));
    assert_eq!(view.source_ranges, ["192.0.2.0/24"]);
    let shown: Vec<_> =
        view.backends.iter().map(|b| (b.weight, b.node.as_deref(), b.state)).collect();
    let expected = [
        (1, Some("n5"), BackendState::Ready),
        (7, Some("n7"), BackendState::Ready),
        (1, None, BackendState::Draining),
    ];
    assert_eq!(shown, expected);

    let [view] = &services(&snapshot, None)[..] else { panic!("one port") };
    assert_eq!((view.affinity_s, view.slow_start_s), (Some(60), Some(30)), "the maps tell");
    assert_eq!((view.backends[1].weight, view.source_ranges.len()), (7, 0));
}

#[test]
fn pods_that_are_not_balanced_are_shown() {
    let pod = |name: &str, opted_out, class: Option<&str>| DesiredPod {
        id: ObjectRef { namespace: "shop".into(), name: name.into() },
        opted_out,
        addresses: Vec::new(),
        sandboxed: class.map(str::to_owned),
        host_network: false,
    };
    let found = [
        ("1", pod("plain", false, None)),
        ("2", pod("out", true, Some("kata"))),
        ("3", pod("boxed", false, Some("gvisor"))),
    ];
    let pods = found.map(|(uid, pod)| (uid.to_owned(), pod)).into();
    let shown: Vec<_> = super::pods(&Desired { pods, ..Desired::default() })
        .into_iter()
        .map(|pod| (pod.name, pod.state, pod.runtime_class))
        .collect();
    let expected = [
        ("boxed".to_owned(), PodState::Sandboxed, Some("gvisor".to_owned())),
        ("out".to_owned(), PodState::OptedOut, Some("kata".to_owned())),
    ];
    assert_eq!(shown, expected);
}
