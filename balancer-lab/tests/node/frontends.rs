//! Which addresses lead to a Service, seen by programs that dial them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::common::{VIP, Web, await_shown, dial, frontends, in_use};
use serde_json::json;

/// Documentation addresses (RFC 5737): nobody routes them.
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const BALANCER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const PROXY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);
/// The lab's node, and its neighbour.
const NODE: &str = "172.18.0.2";
const OTHER_NODE: &str = "172.18.0.1";

/// Tells the agent of its own node, in a zone, and of another one.
fn write_nodes(web: &Web, zone: &str) {
    let node = |name: &str, zone: &str, address: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    };
    let nodes = json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [node("lab-node", zone, NODE), node("another-node", "z9", OTHER_NODE)],
    });
    web.manifests.write_text("nodes.json", &nodes.to_string()).expect("written");
}

#[test]
fn external_addresses_lead_to_the_service_unless_they_must_be_reached() {
    let mut web = Web::start("external", 2);
    let pod = web.client.place().clone();
    let node = web.lab.node().clone();
    web.service = web
        .service
        .clone()
        .with("externalIPs", json!([EXTERNAL]))
        // Clients inside the cluster use all endpoints all the same.
        .with("externalTrafficPolicy", json!("Local"));
    for endpoint in &mut web.service.endpoints {
        endpoint.node = Some("another-node".into());
    }
    let ingress = json!([{"ip": BALANCER, "ipMode": "VIP"}, {"ip": PROXY, "ipMode": "Proxy"}]);
    web.service.status = json!({"loadBalancer": {"ingress": ingress}});
    web.manifests.write(&web.service).expect("written");
    let shown = await_shown(&web.agent, |services| frontends(&services[0]).len() > 1);
    let expected =
        ["ClusterIP 10.96.0.10:80", "ExternalIP 203.0.113.1:80", "LoadBalancer 203.0.113.2:80"];
    assert_eq!(frontends(&shown[0]), expected);

    for place in [&pod, &node] {
        for ip in [VIP, EXTERNAL, BALANCER] {
            assert_eq!(dial(place, (ip, 80))["peer"], json!(format!("{ip}:80")));
        }
        assert_eq!(dial(place, (PROXY, 80))["error"], json!("timed out"), "left to the network");
    }
    let opened = web.opened();
    assert_eq!(opened.iter().sum::<u64>(), 6, "{opened:?}");
}

#[test]
fn an_address_that_is_taken_stays_with_its_service() {
    let mut web = Web::start("clash", 1);
    let pod = web.client.place().clone();
    let thief = balancer_lab::manifests::Service::new(
        "a-thief",
        [10, 96, 0, 66],
        80,
        9999,
        [web.backends[0].ip()],
    );
    web.manifests.write(&thief.with("externalIPs", json!([VIP, EXTERNAL]))).expect("written");
    web.service = web.service.clone().with("externalIPs", json!([EXTERNAL]));
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |services| services.len() == 2 && frontends(&services[0]).len() == 2);
    assert_eq!(dial(&pod, (VIP, 80))["peer"], json!("10.96.0.10:80"), "a ClusterIP is allocated");
    assert_eq!(dial(&pod, (EXTERNAL, 80))["error"], json!("connection refused"), "first by name");
    let problems = web.agent.json(&["status"]).expect("status")["problems"].to_string();
    for told in [
        "10.96.0.10:80 over TCP belongs to Service default/web already",
        "203.0.113.1:80 over TCP belongs to Service default/a-thief already",
    ] {
        assert!(problems.contains(told), "{told} not in {problems}");
    }
}

#[test]
fn a_node_port_leads_to_the_service_on_the_addresses_of_this_node() {
    let mut web = Web::start("node-port", 2);
    write_nodes(&web, "z1");
    let port = json!({"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"});
    web.service = web.service.clone().with("type", json!("NodePort")).with("ports", json!([port]));
    web.manifests.write(&web.service).expect("written");
    let shown = await_shown(&web.agent, |services| frontends(&services[0]).len() > 1);
    assert_eq!(frontends(&shown[0]), ["ClusterIP 10.96.0.10:80", "NodePort 172.18.0.2:30080"]);

    for place in [web.client.place(), web.lab.node()] {
        let at = |ip: &str| dial(place, SocketAddr::new(ip.parse().expect("an address"), 30080));
        assert_eq!(at(NODE)["peer"], json!("172.18.0.2:30080"));
        // Nobody listens there: these are left to the network.
        assert_eq!(at(OTHER_NODE)["error"], json!("connection refused"));
        assert_eq!(at("127.0.0.1")["error"], json!("connection refused"));
    }
    let opened = web.opened();
    assert_eq!(opened.iter().sum::<u64>(), 2, "{opened:?}");
}

#[test]
fn internal_traffic_policy_local_keeps_to_this_node() {
    let mut web = Web::start("local", 4);
    let pod = web.client.place().clone();
    web.service = web.service.clone().with("internalTrafficPolicy", json!("Local"));
    for endpoint in &mut web.service.endpoints[2..] {
        endpoint.node = Some("another-node".into());
    }
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |services| in_use(&services[0]) == [1, 2]);
    for _ in 0..20 {
        assert_eq!(dial(&pod, (VIP, 80))["peer"], json!("10.96.0.10:80"));
    }
    assert_eq!(web.opened().iter().sum::<u64>(), 20, "all went to the two of this node");

    for endpoint in &mut web.service.endpoints {
        endpoint.node = Some("another-node".into());
    }
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |services| in_use(&services[0]).is_empty());
    assert_eq!(dial(&pod, (VIP, 80))["error"], json!("host unreachable"));
    let verdicts = web.agent.json(&["status"]).expect("status")["verdicts"].clone();
    for (name, total) in [("no-local-endpoint", 1), ("no-endpoint", 0)] {
        let given = json!({"name": name, "total": total});
        assert!(verdicts.as_array().expect("array").contains(&given), "{given} in {verdicts}");
    }
}

#[test]
fn zone_hints_keep_connections_near_where_every_endpoint_has_some() {
    let mut web = Web::start("zones", 4);
    let pod = web.client.place().clone();
    write_nodes(&web, "z1");
    for (endpoint, zone) in web.service.endpoints.iter_mut().zip(["z1", "z1", "z2", "z2"]) {
        endpoint.for_zones = vec![zone.into()];
    }
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |services| in_use(&services[0]) == [1, 2]);
    for _ in 0..20 {
        assert_eq!(dial(&pod, (VIP, 80))["peer"], json!("10.96.0.10:80"));
    }
    assert_eq!(web.opened().iter().sum::<u64>(), 20, "all went to the two of this zone");

    write_nodes(&web, "z2");
    await_shown(&web.agent, |services| in_use(&services[0]) == [3, 4]);
    write_nodes(&web, "z3");
    await_shown(&web.agent, |services| in_use(&services[0]) == [1, 2, 3, 4]);
    write_nodes(&web, "z1");
    await_shown(&web.agent, |services| in_use(&services[0]) == [1, 2]);
    web.service.endpoints[3].for_zones.clear();
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |services| in_use(&services[0]) == [1, 2, 3, 4]);
}
