use super::*;
use crate::model::{Endpoint, EndpointPort, EndpointSlice};

fn reference(name: &str) -> ObjectRef {
    ObjectRef { namespace: "shop".into(), name: name.into() }
}

fn service(name: &str, ip: &str) -> Service {
    Service {
        id: reference(name),
        cluster_ips: vec![ip.parse().unwrap()],
        ports: vec![ServicePort { name: String::new(), port: 80, protocol: Protocol::Tcp }],
    }
}

/// Conditions as a word: r(eady), s(erving), t(erminating).
fn endpoint(address: &str, conditions: &str) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        ready: conditions.contains('r'),
        serving: conditions.contains('s'),
        terminating: conditions.contains('t'),
        node: None,
        zone: None,
    }
}

fn slice(name: &str, service: &str, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        id: reference(name),
        service: service.into(),
        ports: vec![EndpointPort { name: String::new(), port: 8080, protocol: Protocol::Tcp }],
        endpoints,
    }
}

fn state(services: Vec<Service>, slices: Vec<EndpointSlice>) -> State {
    State {
        services: services.into_iter().map(|s| (s.id.clone(), s)).collect(),
        slices: slices.into_iter().map(|s| (s.id.clone(), s)).collect(),
        ..State::default()
    }
}

fn usable(desired: &Desired) -> Vec<String> {
    let port = desired.ports.values().next().expect("one port");
    let usable = port.backends.iter().filter(|(_, details)| details.usable);
    usable.map(|(backend, _)| backend.addr.to_string()).collect()
}

#[test]
fn ready_first_else_serving_and_terminating() {
    // conditions of two endpoints -> which of them are usable
    let table: [(&str, &str, &[&str]); 6] = [
        ("rs", "rs", &["10.0.0.1:8080", "10.0.0.2:8080"]),
        ("rs", "", &["10.0.0.1:8080"]),
        ("rs", "st", &["10.0.0.1:8080"]),
        ("st", "t", &["10.0.0.1:8080"]),
        ("s", "t", &[]),
        ("", "", &[]),
    ];
    for (first, second, expected) in table {
        let endpoints = vec![endpoint("10.0.0.1", first), endpoint("10.0.0.2", second)];
        let desired =
            desired(&state(vec![service("web", "10.96.0.1")], vec![slice("a", "web", endpoints)]));
        assert_eq!(usable(&desired), expected, "{first:?} and {second:?}");
    }
}

#[test]
fn slices_are_merged_and_the_better_condition_counts() {
    let slices = vec![
        slice("a", "web", vec![endpoint("10.0.0.1", ""), endpoint("10.0.0.2", "rs")]),
        slice("b", "web", vec![endpoint("10.0.0.1", "rs")]),
        slice("c", "other", vec![endpoint("10.0.0.9", "rs")]),
    ];
    let desired = desired(&state(vec![service("web", "10.96.0.1")], slices));
    assert_eq!(usable(&desired), ["10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[test]
fn a_service_without_endpoints_is_balanced_to_nowhere() {
    let desired = desired(&state(vec![service("web", "10.96.0.1")], vec![]));
    assert_eq!(desired.ports.len(), 1, "it must answer ECONNREFUSED, not be left alone");
    assert!(usable(&desired).is_empty());
}

#[test]
fn only_ports_of_the_same_name_and_protocol_match() {
    let mut service = service("web", "10.96.0.1");
    service.ports[0].name = "http".into();
    let mut slice = slice("a", "web", vec![endpoint("10.0.0.1", "rs")]);
    slice.ports = vec![
        EndpointPort { name: "metrics".into(), port: 9090, protocol: Protocol::Tcp },
        EndpointPort { name: "http".into(), port: 8080, protocol: Protocol::Tcp },
        EndpointPort { name: "http".into(), port: 8443, protocol: Protocol::Udp },
    ];
    let desired = desired(&state(vec![service], vec![slice]));
    assert_eq!(usable(&desired), ["10.0.0.1:8080"]);
}

#[test]
fn the_first_by_name_keeps_a_shared_address() {
    let desired =
        desired(&state(vec![service("b", "10.96.0.1"), service("a", "10.96.0.1")], vec![]));
    let kept: Vec<_> = desired.ports.keys().map(|id| id.service.to_string()).collect();
    assert_eq!(kept, ["shop/a"]);
    assert_eq!(desired.problems.len(), 1);
    let told = desired.problems[0].to_string();
    assert!(told.starts_with("Service shop/b: 10.96.0.1:80 over TCP belongs to"), "{told}");
}

#[test]
fn other_families_and_protocols_are_left_alone() {
    let mut dual = service("dual", "10.96.0.1");
    dual.cluster_ips.push("fd00::1".parse().unwrap());
    dual.ports.push(ServicePort { name: "dns".into(), port: 53, protocol: Protocol::Udp });
    let only6 = service("only6", "fd00::2");
    let slice = slice("a", "dual", vec![endpoint("10.0.0.1", "rs"), endpoint("fd00::9", "rs")]);
    let desired = desired(&state(vec![dual, only6], vec![slice]));
    assert_eq!(desired.ports.len(), 1);
    assert_eq!(desired.ports.values().next().unwrap().frontends.len(), 1);
    assert_eq!(usable(&desired), ["10.0.0.1:8080"]);
    assert_eq!(desired.problems, []);
}
