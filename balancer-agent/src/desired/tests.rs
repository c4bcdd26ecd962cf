use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use balancer_common::policy::Policy;

use super::{desired as compute, node_ports::NodePortAddresses, *};
use crate::model::{
    Changes, Endpoint, EndpointPort, EndpointSlice, Headless, Moving, Node, ObjectRef, Place,
    Selector, Service, ServicePort, TrafficPolicy, Tuning, WeightRule,
};

fn reference(name: &str) -> ObjectRef {
    ObjectRef { namespace: "shop".into(), name: name.into() }
}

fn service(name: &str, ip: &str) -> Service {
    Service {
        id: reference(name),
        uid: Box::default(),
        cluster_ips: vec![ip.parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        session_affinity: None,
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        ports: vec![port("", 80, Protocol::Tcp)],
        tuning: Tuning::default(),
    }
}

fn port(name: &str, port: u16, protocol: Protocol) -> ServicePort {
    ServicePort { name: name.into(), port, node_port: None, requests_only: false, protocol }
}

/// Conditions as a word: r(eady), s(erving), t(erminating).
fn endpoint(address: &str, conditions: &str) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        ready: conditions.contains('r'),
        serving: conditions.contains('s'),
        terminating: conditions.contains('t'),
        place: Arc::default(),
        pod: None,
        hints: None,
    }
}

fn at(node: &str) -> Arc<Place> {
    Place { node: Some(node.into()), zone: None }.into()
}

fn slice(name: &str, service: &str, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        id: reference(name),
        service: service.into(),
        triggered: None,
        ports: vec![EndpointPort { name: String::new(), port: 8080, protocol: Protocol::Tcp }],
        endpoints,
    }
}

fn state(services: Vec<Service>, slices: Vec<EndpointSlice>) -> State {
    State {
        services: services.into_iter().map(|s| (s.id.clone(), s)).collect(),
        slices: slices.into_iter().collect(),
        ..State::default()
    }
}

/// What is desired where node ports are at every address of the node.
fn desired(state: &State) -> Desired {
    let all = ["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap());
    compute(state, &NodePortAddresses::In(all.into()).into())
}

fn usable(desired: &Desired) -> Vec<String> {
    let port = desired.ports.values().next().expect("one port");
    let usable = port.backends.iter().filter(|(_, details)| details.usable);
    usable.map(|(backend, _)| backend.to_string()).collect()
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
fn tcp_and_udp_are_balanced_and_sctp_is_left_alone() {
    let mut web = service("web", "10.96.0.1");
    // One number of two protocols: two ports, and no clash.
    web.ports.push(port("quic", 80, Protocol::Udp));
    web.ports.push(port("sig", 80, Protocol::Sctp));
    let mut slice = slice("a", "web", vec![endpoint("10.0.0.1", "rs")]);
    slice.ports.push(EndpointPort { name: "quic".into(), port: 8443, protocol: Protocol::Udp });
    let desired = desired(&state(vec![web], vec![slice]));
    let of_port = |(id, port): (&PortId, &DesiredPort)| {
        let backends: Vec<_> = port.backends.keys().map(|b| b.addr().port()).collect();
        (id.protocol, port.frontends[0].protocol, backends)
    };
    let found: Vec<_> = desired.ports.iter().map(of_port).collect();
    let expected =
        [(Protocol::Tcp, Protocol::Tcp, vec![8080]), (Protocol::Udp, Protocol::Udp, vec![8443])];
    assert_eq!(found, expected);
    assert_eq!(desired.problems, []);
}

#[test]
fn families_are_judged_apart() {
    let mut dual = service("dual", "10.96.0.1");
    dual.cluster_ips.push("fd00::1".parse().unwrap());
    let slices = vec![
        slice("a", "dual", vec![endpoint("10.0.0.1", "rs"), endpoint("10.0.0.2", "st")]),
        slice("b", "dual", vec![endpoint("fd00::9", "st"), endpoint("fd00::a", "")]),
    ];
    let desired = desired(&state(vec![dual], slices));
    assert_eq!(shown(&desired), ["dual ClusterIp 10.96.0.1:80", "dual ClusterIp [fd00::1]:80"]);
    assert_eq!(usable(&desired), ["10.0.0.1:8080", "[fd00::9]:8080"]);
    assert_eq!(desired.problems, []);
}

/// The frontends of every Service port, `KIND ADDRESS`.
fn shown(desired: &Desired) -> Vec<String> {
    let frontend =
        |id: &PortId, f: &FrontendAddr| format!("{} {:?} {}", id.service.name, f.kind, f.addr);
    let ports = desired.ports.iter();
    ports.flat_map(|(id, port)| port.frontends.iter().map(move |f| frontend(id, f))).collect()
}

fn on_node(services: Vec<Service>) -> State {
    let addresses = vec!["192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap()];
    let node = Node { name: "here".into(), addresses, ..Node::default() };
    State { node: Some(node), ..state(services, vec![]) }
}

/// A Service with an address of every kind.
fn reachable(name: &str, ip: &str) -> Service {
    let mut service = service(name, ip);
    service.external_ips.push("203.0.113.1".parse().unwrap());
    service.load_balancer_ips.push("203.0.113.2".parse().unwrap());
    service.ports[0].node_port = Some(30080);
    service
}

#[test]
fn every_address_of_a_service_is_captured() {
    let desired = desired(&on_node(vec![reachable("web", "10.96.0.1")]));
    let expected = [
        "web ClusterIp 10.96.0.1:80",
        "web NodePort 192.0.2.1:30080",
        "web NodePort 198.51.100.1:30080",
        "web ExternalIp 203.0.113.1:80",
        "web LoadBalancer 203.0.113.2:80",
    ];
    assert_eq!(shown(&desired), expected);
    assert_eq!(desired.problems, []);
}

#[test]
fn an_address_that_is_captured_for_two_reasons_is_captured_once() {
    let mut web = reachable("web", "10.96.0.1");
    web.load_balancer_ips = web.external_ips.clone();
    web.external_ips.push("10.96.0.1".parse().unwrap());
    web.ports[0].node_port = None;
    let desired = desired(&on_node(vec![web]));
    assert_eq!(shown(&desired), ["web ClusterIp 10.96.0.1:80", "web ExternalIp 203.0.113.1:80"]);
    assert_eq!(desired.problems, []);
}

#[test]
fn node_ports_are_at_the_primary_addresses_unless_told_otherwise() {
    let state = on_node(vec![reachable("web", "10.96.0.1")]);
    let at = |rule: &NodePortAddresses| {
        let desired = compute(&state, &rule.clone().into());
        let shown: Vec<_> = shown(&desired).into_iter().filter(|f| f.contains("Node")).collect();
        let told: String = desired.problems.iter().map(Problem::to_string).collect();
        (shown.join(" "), told)
    };
    let primary = ("web NodePort 192.0.2.1:30080".to_owned(), String::new());
    assert_eq!(at(&NodePortAddresses::Primary), primary);
    let (shown, told) = at(&NodePortAddresses::In(vec!["10.0.0.0/8".parse().unwrap()]));
    assert_eq!(shown, "");
    assert!(told.starts_with("Node here: status.addresses: none is in 10.0.0.0/8"), "{told}");
}

#[test]
fn a_local_internal_policy_is_about_the_cluster_ip_alone() {
    let mut web = reachable("web", "10.96.0.1");
    web.internal_traffic_policy = TrafficPolicy::Local;
    let mut near = endpoint("10.0.0.1", "rs");
    near.place = at("here");
    let slices = slice("a", "web", vec![near, endpoint("10.0.0.2", "rs")]);
    let mut state = on_node(vec![web]);
    state.slices.insert(slices);
    let found = desired(&state);
    assert_eq!(shown(&found).len(), 5, "{:?}", shown(&found));
    assert_eq!(usable(&found), ["10.0.0.1:8080"]);
    let external = found.ports.values().next().unwrap().external.as_ref().unwrap();
    assert_eq!(external.values().filter(|details| details.usable).count(), 2, "{external:?}");

    state.node = None;
    let found = shown(&desired(&state));
    let expected = ["web ExternalIp 203.0.113.1:80", "web LoadBalancer 203.0.113.2:80"];
    assert_eq!(found, expected, "which endpoints are local can't be told");
}

#[test]
fn a_service_has_the_families_of_its_cluster_ips() {
    let mut web = reachable("web", "fd00::1");
    web.external_ips.push("2001:db8::1".parse().unwrap());
    let mut state = on_node(vec![web]);
    state.node.as_mut().unwrap().addresses.push("2001:db8::2".parse().unwrap());
    let expected = [
        "web ClusterIp [fd00::1]:80",
        "web NodePort [2001:db8::2]:30080",
        "web ExternalIp [2001:db8::1]:80",
    ];
    assert_eq!(shown(&desired(&state)), expected);
}

#[test]
fn endpoints_are_found_once_where_they_are_the_same_for_all_addresses() {
    let mut local = service("local", "10.96.0.2");
    local.internal_traffic_policy = TrafficPolicy::Local;
    let desired = desired(&on_node(vec![reachable("web", "10.96.0.1"), local]));
    assert!(desired.ports.values().all(|port| port.external.is_none()), "{desired:?}");
}

#[test]
fn source_ranges_go_with_the_port() {
    let mut web = reachable("web", "10.96.0.1");
    web.source_ranges = vec!["192.0.2.0/24".parse().unwrap()];
    let desired = desired(&on_node(vec![web.clone()]));
    assert_eq!(desired.ports.values().next().unwrap().source_ranges, web.source_ranges);
}

#[test]
fn the_loser_of_a_clash_is_told_and_nothing_else_changes() {
    // what the second Service has beside its ClusterIP -> what is told of it
    let node_port = |service: &mut Service| service.ports[0].node_port = Some(30080);
    let external = |service: &mut Service| {
        service.external_ips = vec!["203.0.113.1".parse().unwrap()];
    };
    let balancer = |service: &mut Service| {
        service.load_balancer_ips = vec!["203.0.113.1".parse().unwrap()];
    };
    let cluster_ip = |service: &mut Service| {
        service.external_ips = vec!["10.96.0.1".parse().unwrap()];
    };
    let on_the_node = |service: &mut Service| {
        service.external_ips = vec!["192.0.2.1".parse().unwrap()];
        service.ports[0].port = 30080;
    };
    type Change<'a> = &'a dyn Fn(&mut Service);
    let table: [(Change<'_>, &str); 5] = [
        (&node_port, "192.0.2.1:30080 over TCP belongs to Service shop/web already"),
        (&external, "203.0.113.1:80 over TCP belongs to Service shop/web already"),
        (&balancer, "203.0.113.1:80 over TCP belongs to Service shop/web already"),
        (&cluster_ip, "10.96.0.1:80 over TCP belongs to Service shop/web already"),
        (&on_the_node, "192.0.2.1:30080 over TCP belongs to Service shop/web already"),
    ];
    let alone = shown(&desired(&on_node(vec![reachable("web", "10.96.0.1")])));
    for (change, told) in table {
        let mut second = service("xen", "10.96.0.2");
        change(&mut second);
        let desired = desired(&on_node(vec![reachable("web", "10.96.0.1"), second]));
        let of_first: Vec<_> =
            shown(&desired).into_iter().filter(|f| f.starts_with("web")).collect();
        assert_eq!(of_first, alone, "{told}");
        let problem = desired.problems[0].to_string();
        assert!(problem.starts_with(&format!("Service shop/xen: {told}")), "{problem}");
        let [clash] = desired.clashes.as_slice() else { panic!("one: {:?}", desired.clashes) };
        assert_eq!(clash.service, reference("xen"));
        // The owners are told the same on every node.
        let told = if desired.problems[0].message.contains("a node port of") {
            "node port 30080 over TCP belongs to Service shop/web already"
        } else {
            told
        };
        assert!(clash.message.starts_with(told), "{clash:?}");
    }
}

#[test]
fn allocated_addresses_win_over_written_ones() {
    let mut thief = service("a", "10.96.0.2");
    thief.external_ips = vec!["10.96.0.1".parse().unwrap()];
    let desired = desired(&on_node(vec![thief, service("web", "10.96.0.1")]));
    assert_eq!(shown(&desired), ["a ClusterIp 10.96.0.2:80", "web ClusterIp 10.96.0.1:80"]);
    assert_eq!(desired.problems.len(), 1, "{:?}", desired.problems);
}

#[test]
fn session_affinity_goes_with_the_port() {
    let mut sticky = service("sticky", "10.96.0.1");
    sticky.session_affinity = Some(60);
    let state = state(vec![sticky, service("web", "10.96.0.2")], vec![]);
    let desired = desired(&state);
    let affinity: Vec<_> = desired.ports.values().map(|port| port.options.affinity).collect();
    assert_eq!((affinity, desired.problems.len()), (vec![60, 0], 0));
}

#[test]
fn annotations_reach_ports_and_backends() {
    let mut web = service("web", "10.96.0.1");
    web.tuning = Tuning {
        policy: Policy::WeightedLeastConnections,
        weights: vec![
            WeightRule { selector: Selector::Zone("a".into()), weight: 3 },
            WeightRule { selector: Selector::PodPrefix("web-".into()), weight: 2 },
        ],
        slow_start: 30,
        keeps_suspects: true,
        moving: Some(Moving { rebalance: Some(true), ..Moving::default() }.into()),
    };
    let mut endpoints = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| endpoint(ip, "rs"));
    endpoints[0].place = Place { node: None, zone: Some("a".into()) }.into();
    endpoints[1].pod = Some("web-0".into());
    let found = desired(&state(vec![web], vec![slice("a", "web", endpoints.into())]));
    let port = found.ports.values().next().unwrap();
    assert_eq!(port.options.policy, Policy::WeightedLeastConnections);
    assert_eq!(port.options.slow_start, 30);
    assert!(port.options.keeps_suspects);
    assert_eq!(port.moving.as_ref().unwrap().rebalance, Some(true));
    let weights: Vec<_> = port.backends.values().map(|details| details.weight).collect();
    assert_eq!(weights, [3, 2, 1]);
}

/// The headless Service of the agents, one on each node.
fn agents(nodes: &[(&str, &str)]) -> (NodePorts, Headless) {
    let agents = reference("agents");
    let endpoint = |(node, address): &(&str, &str)| {
        let mut endpoint = endpoint(address, "rs");
        endpoint.place = at(node);
        endpoint
    };
    let slice = slice("agents", "agents", nodes.iter().map(endpoint).collect());
    let headless =
        Headless { services: [agents.clone()].into(), slices: [slice].into_iter().collect() };
    (NodePorts { peers: Some(agents), ..NodePorts::default() }, headless)
}

#[test]
fn node_ports_of_other_nodes_are_one_entry_a_port() {
    let (mut rule, headless) =
        agents(&[("here", "192.0.2.1"), ("there", "192.0.2.2"), ("far", "192.0.2.3")]);
    let mut state = on_node(vec![reachable("web", "10.96.0.1")]);
    state.headless = headless;
    let node_ports = |state: &State, rule: &NodePorts| -> Vec<String> {
        shown(&compute(state, rule)).into_iter().filter(|f| f.contains("NodePort")).collect()
    };
    let want = [
        "web NodePort 0.0.0.0:30080",
        "web NodePort 192.0.2.1:30080",
        "web NodePort 255.255.255.255:30080",
    ];
    assert_eq!(node_ports(&state, &rule), want);
    let others = compute(&state, &rule).nodes.others;
    let others: Vec<_> = others.iter().map(|(ip, node)| format!("{node} {ip}")).collect();
    assert_eq!(others, ["there 192.0.2.2", "far 192.0.2.3"]);

    // Where external traffic stays on its node, a node with endpoints has an entry of its own.
    let web = state.services.get_mut(&reference("web")).unwrap();
    web.external_traffic_policy = TrafficPolicy::Local;
    let mut there = endpoint("10.0.1.1", "rs");
    there.place = at("there");
    state.slices.insert(slice("a", "web", vec![there]));
    let want =
        [want[0], want[1], "web NodePort 192.0.2.2:30080", "web NodePort 255.255.255.255:30080"];
    assert_eq!(node_ports(&state, &rule), want);
    let port = compute(&state, &rule).ports.into_values().next().unwrap();
    let nodes: Vec<_> = port.at_nodes.unwrap().into_keys().map(|ip| ip.to_string()).collect();
    assert_eq!(nodes, ["192.0.2.2"]);

    // The loopback and interfaces need no other node, and ranges may hold none of them.
    rule.addresses = NodePortAddresses::In(vec!["192.0.2.1/32".parse().unwrap()]);
    assert_eq!(node_ports(&state, &rule), ["web NodePort 192.0.2.1:30080"]);
    rule.addresses = NodePortAddresses::In(vec!["127.0.0.0/8".parse().unwrap()]);
    let found = compute(&state, &rule);
    assert_eq!(found.nodes.loopback, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(found.problems, []);
    assert_eq!(node_ports(&state, &rule), [want[0], want[3]]);
}

/// What follows a change of Services, slices and pods is what is computed anew: also whose an address
/// is that several Services claim.
#[test]
fn following_parts_gives_what_everything_gives() {
    let mut rng = StdRng::seed_from_u64(3);
    let (mut all, headless) = agents(&[("there", "192.0.2.2"), ("far", "192.0.2.3")]);
    all.addresses = NodePortAddresses::In(["0.0.0.0/0", "::/0"].map(|r| r.parse().unwrap()).into());
    let desired = |state: &State| compute(state, &all);
    let mut before = on_node(vec![]);
    before.headless = headless;
    let mut followed = desired(&before);
    let (mut clashes, mut moves) = (0, 0);
    for _ in 0..3000 {
        let mut after = before.clone();
        for _ in 0..rng.random_range(1..4) {
            match rng.random_range(0..3) {
                0 => drop(after.services.remove(&reference(name(&mut rng)))),
                1 => {
                    let service = any_service(&mut rng);
                    after.services.insert(service.id.clone(), service);
                }
                _ => change_slice(&mut after, &mut rng),
            }
        }
        let Changes::Some(parts) = Changes::between(&before, &after) else {
            panic!("only Services and slices differ")
        };
        let old = followed.ports.clone();
        let differ = followed.follow(&after, &parts, &all);
        assert_eq!(followed, desired(&after));
        for id in old.keys().chain(followed.ports.keys()) {
            assert!(
                differ.contains(id) || old.get(id) == followed.ports.get(id),
                "{id} differs and is not named"
            );
        }
        clashes += followed.clashes.len();
        let of_others = |id: &&PortId| !parts.services.contains(&id.service);
        moves += differ
            .iter()
            .filter(of_others)
            .filter(|id| {
                let frontends = |ports: &BTreeMap<PortId, DesiredPort>| {
                    ports.get(*id).map(|port| port.frontends.clone())
                };
                frontends(&old) != frontends(&followed.ports)
            })
            .count();
        before = after;
    }
    assert!(clashes > 500 && moves > 200, "{clashes} clashes, {moves} addresses moved");
}

fn name(rng: &mut StdRng) -> &'static str {
    ["api", "db", "lb", "web"][rng.random_range(0..4)]
}

/// A Service of few addresses, so that others have the same ones.
fn any_service(rng: &mut StdRng) -> Service {
    let ip = |rng: &mut StdRng| {
        let kind = ["10.96.0", "203.0.113"][rng.random_range(0..2)];
        format!("{kind}.{}", rng.random_range(1..4))
    };
    let mut service = service(name(rng), &ip(rng));
    if rng.random_bool(0.2) {
        service.cluster_ips.clear();
    }
    for ips in [&mut service.external_ips, &mut service.load_balancer_ips] {
        for _ in 0..rng.random_range(0..3) {
            ips.push(ip(rng).parse().unwrap());
        }
    }
    service.ports = (0..rng.random_range(0..3_usize))
        .map(|at| {
            let number = [80, 443][rng.random_range(0..2)];
            let protocol = [Protocol::Tcp, Protocol::Udp][rng.random_range(0..2)];
            let mut port = port(["", "b"][at], number, protocol);
            port.node_port = rng.random_bool(0.4).then_some(30080);
            port
        })
        .collect();
    if rng.random_bool(0.3) {
        service.internal_traffic_policy = TrafficPolicy::Local;
    }
    if rng.random_bool(0.3) {
        service.external_traffic_policy = TrafficPolicy::Local;
    }
    service.health_check_node_port = rng.random_bool(0.3).then_some(32000);
    service.session_affinity = rng.random_bool(0.3).then_some(60);
    service
}

fn change_slice(state: &mut State, rng: &mut StdRng) {
    // "other" is the name of no Service.
    let of = ["web", "api", "lb", "other"][rng.random_range(0..4)];
    let mut changed = slice(["a", "b", "c", "d", "e"][rng.random_range(0..5)], of, vec![]);
    for last in 1..rng.random_range(1..6) {
        let conditions = ["r", "rs", "st", ""][rng.random_range(0..4)];
        let mut endpoint = endpoint(&format!("10.0.0.{last}"), conditions);
        endpoint.place = at(["here", "there"][rng.random_range(0..2)]);
        changed.endpoints.push(endpoint);
    }
    match rng.random_range(0..4) {
        0 => drop(state.slices.remove(&changed.id)),
        _ => drop(state.slices.insert(changed)),
    }
}
