use super::*;
use crate::model::{
    Endpoint, EndpointPort, Place, Protocol, ServicePort, TrafficPolicy::Cluster, Tuning,
};

fn service(name: &str, health_check_node_port: Option<u16>) -> Service {
    let port = |name: &str, port| ServicePort {
        name: name.into(),
        port,
        node_port: None,
        requests_only: false,
        protocol: Protocol::Tcp,
    };
    Service {
        id: ObjectRef { namespace: "shop".into(), name: name.into() },
        uid: Box::default(),
        cluster_ips: Vec::new(),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        session_affinity: None,
        internal_traffic_policy: Cluster,
        external_traffic_policy: Cluster,
        health_check_node_port,
        ports: vec![port("http", 80), port("https", 443)],
        tuning: Tuning::default(),
    }
}

/// A slice of `web` with a port of each name and endpoints in words: address, node, `ready` or not.
fn slice(name: &str, ports: &[&str], endpoints: &[&str]) -> EndpointSlice {
    let port = |name: &&str| EndpointPort {
        name: (*name).to_owned(),
        port: 8080,
        protocol: Protocol::Tcp,
    };
    let endpoint = |text: &&str| {
        let words: Vec<_> = text.split(' ').collect();
        Endpoint {
            address: words[0].parse().unwrap(),
            ready: words[2] == "ready",
            serving: true,
            terminating: words[2] == "terminating",
            place: Place { node: Some(words[1].into()), zone: None }.into(),
            pod: None,
            hints: None,
        }
    };
    EndpointSlice {
        id: ObjectRef { namespace: "shop".into(), name: name.into() },
        service: "web".into(),
        triggered: None,
        ports: ports.iter().map(port).collect(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn checks(
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    node_ports: &NodePortAddresses,
) -> (HealthChecks, Vec<Clash>) {
    let node = crate::model::Node { name: "here".into(), ..Default::default() };
    let state = State {
        services: services.into_iter().map(|s| (s.id.clone(), s)).collect(),
        slices: slices.into_iter().collect(),
        node: Some(node),
        ..State::default()
    };
    of(&state, node_ports, &["192.0.2.1".parse().unwrap()])
}

#[test]
fn ready_endpoints_of_this_node_are_counted_once() {
    // slices -> local endpoints
    let table: &[(&[EndpointSlice], usize)] = &[
        (&[], 0),
        (&[slice("a", &["http"], &["10.0.0.1 there ready"])], 0),
        (&[slice("a", &["http"], &["10.0.0.1 here ready", "10.0.0.2 there ready"])], 1),
        (&[slice("a", &["http"], &["10.0.0.1 here terminating", "10.0.0.2 here unready"])], 0),
        (&[slice("a", &["http", "https"], &["10.0.0.1 here ready", "10.0.0.2 here ready"])], 2),
        (
            &[
                slice("a", &["http"], &["10.0.0.1 here ready"]),
                slice("b", &["https"], &["10.0.0.1 here ready"]),
            ],
            1,
        ),
        // No port of the Service has this name.
        (&[slice("a", &["admin"], &["10.0.0.1 here ready"])], 0),
        // Two pods, each with an address of both families.
        (
            &[
                slice("a", &["http"], &["10.0.0.1 here ready", "10.0.0.2 here ready"]),
                slice("b", &["http"], &["fd00::1 here ready", "fd00::2 here ready"]),
            ],
            2,
        ),
    ];
    for (slices, want) in table {
        let services = vec![service("web", Some(32000)), service("other", None)];
        let (checks, problems) = checks(services, slices.to_vec(), &NodePortAddresses::Primary);
        let ports: Vec<_> = checks.by_port.keys().copied().collect();
        assert_eq!((ports, problems), (vec![32000], vec![]), "{slices:?}");
        assert_eq!(checks.by_port[&32000].local_endpoints, *want, "{slices:?}");
    }
}

#[test]
fn answers_are_given_where_node_ports_are() {
    let at = |rule| checks(Vec::new(), Vec::new(), &rule).0.addresses;
    assert_eq!(at(NodePortAddresses::Primary), [Ipv6Addr::UNSPECIFIED]);
    assert_eq!(at(NodePortAddresses::In(Vec::new())), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_port_of_two_services_goes_to_the_first() {
    let services = vec![service("web", Some(32000)), service("api", Some(32000))];
    let (checks, problems) = checks(services, Vec::new(), &NodePortAddresses::Primary);
    assert_eq!(checks.by_port[&32000].service.name, "api");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].problem().object, "Service shop/web");
    assert!(problems[0].message.contains("32000 belongs to Service shop/api"), "{problems:?}");
}
