//! External addresses beside internalTrafficPolicy, and where node ports are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::common::{Connections, VIP, Web, dial, frontends};
use balancer_lab::{Agent, manifests::Service};
use serde_json::{Value, json};

/// A documentation address (RFC 5737): nobody routes it.
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The lab's node: its first address, and two more.
const NODE: [&str; 3] = ["172.18.0.2", "192.0.2.7", "198.51.100.7"];
const NODE_PORT: u16 = 30080;

fn write_node(web: &Web) {
    let addresses = NODE.map(|ip| json!({"type": "InternalIP", "address": ip}));
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "lab-node"},
        "status": {"addresses": addresses},
    });
    web.manifests.write_text("node.json", &node.to_string()).expect("written");
}

fn with_node_port(service: Service) -> Service {
    let port = json!({"name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": "TCP"});
    service.with("type", json!("NodePort")).with("ports", json!([port]))
}

/// Connections that each pod has of so many new ones, by its number.
fn spread(web: &Web, target: SocketAddr, count: usize) -> Vec<u64> {
    let held = Connections::open(web.client.place(), target, count).opened(target);
    let found = web.active();
    drop(held);
    let of = |pod: &balancer_lab::Pod| {
        found.iter().find(|(backend, _)| backend.ip() == pod.ip()).map_or(0, |(_, n)| *n)
    };
    web.backends.iter().map(of).collect()
}

/// internalTrafficPolicy is about the ClusterIP alone.
#[test]
fn external_addresses_lead_to_all_endpoints_where_internal_traffic_is_local() {
    let mut web = Web::start("external-local", 4);
    write_node(&web);
    web.change(
        |mut service| {
            for endpoint in &mut service.endpoints[2..] {
                endpoint.node = Some("another-node".into());
            }
            with_node_port(service)
                .with("internalTrafficPolicy", json!("Local"))
                .with("externalIPs", json!([EXTERNAL]))
        },
        |shown| frontends(shown).len() == 3,
    );
    let node = SocketAddr::new(NODE[0].parse().expect("an address"), NODE_PORT);
    assert_eq!(spread(&web, (VIP, 80).into(), 8), [4, 4, 0, 0]);
    assert_eq!(spread(&web, (EXTERNAL, 80).into(), 8), [2, 2, 2, 2]);
    assert_eq!(spread(&web, node, 8), [2, 2, 2, 2]);

    // Without an endpoint here, the ClusterIP alone is refused.
    web.change(
        |mut service| {
            service.endpoints.drain(..2);
            service
        },
        |shown| shown["backends"].as_array().map(Vec::len) == Some(2),
    );
    assert_eq!(dial(web.client.place(), (VIP, 80))["errno"], nix::libc::EHOSTUNREACH);
    assert_eq!(spread(&web, (EXTERNAL, 80).into(), 8), [0, 0, 4, 4]);
    assert_eq!(spread(&web, node, 8), [0, 0, 4, 4]);
}

#[test]
fn node_ports_are_on_the_first_address_or_where_they_are_asked_for() {
    let mut web = Web::start("node-addresses", 1);
    write_node(&web);
    web.change(with_node_port, |shown| frontends(shown).len() == 2);
    let on = |web: &Web| -> Vec<bool> {
        let at = |ip: &str| SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), NODE_PORT);
        let connects = |ip: &str| dial(web.client.place(), at(ip))["peer"] == at(ip).to_string();
        NODE.iter().map(|ip| connects(ip)).collect()
    };
    assert_eq!(on(&web), [true, false, false], "by default");
    for (ranges, expected, told) in [
        (&["192.0.2.0/24", "198.51.100.7/32"][..], [false, true, true], None),
        (&["0.0.0.0/0", "::/0"], [true, true, true], None),
        (&["primary"], [true, false, false], None),
        (&["172.16.0.0/12", "10.0.0.0/8"], [true, false, false], Some("10.0.0.0/8")),
    ] {
        web.agent.kill().expect("killed");
        let flags: Vec<&str> =
            ranges.iter().flat_map(|range| ["--nodeport-addresses", range]).collect();
        web.agent = Agent::start(&web.lab, web.manifests.dir(), &flags).expect("agent");
        assert_eq!(on(&web), expected, "{ranges:?}");
        let problems = web.agent.json(&["status"]).expect("status")["problems"].clone();
        let problems = problems.as_array().expect("problems");
        let names = |problem: &Value, range: &str| problem["message"].to_string().contains(range);
        assert_eq!(problems.len(), usize::from(told.is_some()), "{ranges:?}: {problems:?}");
        assert!(told.is_none_or(|range| names(&problems[0], range)), "{problems:?}");
    }
}
