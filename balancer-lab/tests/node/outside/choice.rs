//! Where connections from outside are led.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Instant,
};

use balancer_lab::{
    Agent, Place,
    http::Server,
    manifests::{Endpoint, Service},
};
use serde_json::{Value, json};

use super::stage::{NODE_PORT, READY, Stage, VIP6};
use crate::common::{Connections, VIP, dial, udp::Udp};

#[test]
fn connections_from_outside_are_spread_and_counted() {
    let stage = Stage::start("outside");
    for node in 0..2 {
        let target = stage.at(node);
        let status = stage.agents[node].json(&["status"]).expect("status");
        assert_eq!(status["outside"], json!(["eth0"]));
        let held = Connections::open(stage.cluster.outside(), target, 20).opened(target);
        assert_eq!(stage.counts(node), [6, 7, 7], "through node {node}");
        drop(held);
        stage.await_counts(node, &[0, 0, 0]);
    }
}

#[test]
fn connections_from_outside_are_listed_with_their_clients() {
    let mut stage = Stage::start("outside-listed");
    let target = stage.at(0);
    let open = move || TcpStream::connect(target);
    let streams: Vec<TcpStream> = (0..3)
        .map(|_| stage.cluster.outside().within(open).expect("a place").expect("open"))
        .collect();
    let end = |at: SocketAddr| json!({"address": at.ip(), "port": at.port()});
    let mut clients: Vec<Value> =
        streams.iter().map(|stream| end(stream.local_addr().expect("bound"))).collect();
    clients.sort_by_key(Value::to_string);
    let listed = |agent: &Agent, filters: &[&str]| {
        let shown = agent.json(&[&["connections"], filters].concat()).expect("connections");
        shown.as_array().expect("an array").clone()
    };
    // Also by the maps alone.
    for _ in 0..2 {
        let shown = listed(&stage.agents[0], &["default/web"]);
        let mut found: Vec<Value> = shown.iter().map(|one| one["client"].clone()).collect();
        found.sort_by_key(Value::to_string);
        assert_eq!(found, clients);
        for one in &shown {
            assert_eq!(one["outside"], json!({"dialled": end(target), "state": "open"}), "{one}");
            assert_eq!((&one["pid"], &one["pod"]), (&Value::Null, &Value::Null), "{one}");
            assert!(one["age_ms"].as_u64().is_some_and(|age| age < 60_000), "{one}");
        }
        let backend = stage.pods[0].socket(8080).to_string();
        assert_eq!(listed(&stage.agents[0], &["--backend", &backend]).len(), 1);
        // No pod has them: one of this name is unknown to the agent, and to the maps.
        let of_pod = stage.agents[0].json(&["connections", "--pod", "default/web"]);
        assert!(of_pod.as_ref().map_or(true, |shown| *shown == json!([])), "{of_pod:?}");
        stage.agents[0].terminate().ok();
    }
    drop(streams);
}

/// As with kube-proxy: the endpoints of the node that is dialled, and nobody's elsewhere.
#[test]
fn a_local_external_policy_keeps_to_the_node_and_drops_where_there_is_none() {
    let mut stage = Stage::start("outside-local");
    let local = |service: Service| service.with("externalTrafficPolicy", json!("Local"));
    stage.change(local, |said| said["peer"] != json!(null));
    let target = stage.at(0);
    let deadline = Instant::now() + READY;
    loop {
        let _held = Connections::open(stage.cluster.outside(), target, 20).opened(target);
        if stage.counts(0) == [0, 10, 10] {
            break;
        }
        assert!(Instant::now() < deadline, "{:?}", stage.counts(0));
    }
    stage.await_counts(0, &[0, 0, 0]);
    // Those of the first node are gone: one of another node is not asked.
    let elsewhere = |mut service: Service| {
        service.endpoints.drain(..2);
        service
    };
    stage.change(elsewhere, |said| said["error"] == json!("timed out"));
    let other = stage.at(1);
    let _held = Connections::open(stage.cluster.outside(), other, 4).opened(other);
    assert_eq!(stage.counts(1), [4]);
}

#[test]
fn a_service_without_endpoints_is_refused_by_icmp() {
    let mut stage = Stage::start("outside-refused");
    // It would answer where a packet is let through.
    let node = &stage.cluster.nodes()[0];
    let _server = Server::start(node.place(), "node", &[stage.at(0)]).expect("server");
    let nobody = |mut service: Service| {
        service.endpoints.clear();
        service
    };
    stage.change(nobody, |said| said["errno"] == nix::libc::ECONNREFUSED);
}

/// Over IPv6, and at addresses that no device has.
#[test]
fn other_addresses_of_a_service_lead_there_too() {
    let mut stage = Stage::start("outside-addresses");
    let outside = stage.cluster.outside().clone();
    let nodes = stage.cluster.nodes();
    let via = nodes[0].ip().to_string();
    let mut route = outside.command("ip");
    route.args(["route", "add", "203.0.113.0/24", "via", &via]);
    assert!(route.status().expect("ip").success());
    let port = json!({"name": "http", "port": 80, "nodePort": NODE_PORT + 1, "protocol": "TCP"});
    let pods = stage.pods.iter().zip([0, 0, 1]);
    let web6 = Service {
        endpoints: pods.map(|(pod, n)| Endpoint::ready(pod.ip6()).on(nodes[n].name())).collect(),
        ..Service::new("web6", VIP6, 80, 8080, [] as [IpAddr; 0])
    };
    let web6 = web6.with("type", json!("NodePort")).with("ports", json!([port]));
    stage.manifests.write(&web6).expect("written");
    let [external, balancer] = ["203.0.113.7:80", "203.0.113.8:80"];
    let change = |mut service: Service| {
        service.status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}]}});
        let admitted = json!(["172.18.0.0/24"]);
        service
            .with("externalIPs", json!(["203.0.113.7"]))
            .with("loadBalancerSourceRanges", admitted)
    };
    stage.change(change, |said| said["peer"] != json!(null));
    let node6 = SocketAddr::new(stage.cluster.nodes()[0].ip6().into(), NODE_PORT + 1).to_string();
    for (name, target) in [("web6", &*node6), ("web", external), ("web", balancer)] {
        let target: SocketAddr = target.parse().expect("an address");
        let deadline = Instant::now() + READY;
        while dial(&outside, target)["peer"] == json!(null) {
            assert!(Instant::now() < deadline, "{target}");
        }
        stage.await_counts_of(0, name, &[0, 0, 0]);
        let _held = Connections::open(&outside, target, 20).opened(target);
        assert_eq!(stage.counts_of(0, name), [6, 7, 7], "{target}");
    }
    // The client is admitted no more.
    let nobody =
        |service: Service| service.with("loadBalancerSourceRanges", json!(["198.51.100.0/24"]));
    stage.change(nobody, |said| said["peer"] != json!(null));
    let balancer: SocketAddr = balancer.parse().expect("an address");
    let deadline = Instant::now() + READY;
    while dial(&outside, balancer)["error"] != json!("timed out") {
        assert!(Instant::now() < deadline);
    }
}

/// As kube-proxy's nftables mode does: from a pod, from the node, and from outside.
#[test]
fn a_port_that_a_service_lacks_is_refused_as_long_as_it_has_the_address() {
    let mut stage = Stage::start("outside-lacks");
    let node = &stage.cluster.nodes()[0];
    let via = node.ip().to_string();
    let mut route = stage.cluster.outside().command("ip");
    route.args(["route", "add", "10.96.0.0/16", "via", &via]);
    assert!(route.status().expect("ip").success());
    // A redirect to a client keeps other messages of ICMP from it for a second, also one that was sent before.
    for device in ["all", "eth0"] {
        let key = format!("net/ipv4/conf/{device}/send_redirects");
        node.place().set_sysctl(&key, "0").expect("set");
    }
    let places = [stage.pods[0].place(), node.place(), stage.cluster.outside()].map(Place::clone);
    let other: SocketAddr = (VIP, 81).into();
    for place in &places {
        let said = dial(place, other);
        assert_eq!(said["errno"], nix::libc::ECONNREFUSED, "{said}");
        let said = dial(place, (VIP, 80));
        assert!(said["peer"] != json!(null), "{}: {said}", place.netns());
        let mut udp = Udp::open(place, &[]);
        udp.ask(&format!("connect {other}"));
        // The kernel tells a program of the node itself at once that its datagram was dropped.
        let is_of_node = place.netns() == node.place().netns();
        let errno = if is_of_node { nix::libc::EPERM } else { nix::libc::ECONNREFUSED };
        let deadline = Instant::now() + READY;
        loop {
            let answer = udp.ask("send hello");
            if answer["errno"] == errno {
                break;
            }
            let is_silent = answer["errno"] == nix::libc::EAGAIN;
            assert!(is_silent && Instant::now() < deadline, "{}: {answer}", place.netns());
        }
    }
    // Another Service without a port in common, and with the address of the first one gone.
    let moved = Service { cluster_ip: "10.96.0.11".to_owned(), ..stage.service.clone() };
    stage.change(|_| moved, |said| said["peer"] != json!(null));
    let deadline = Instant::now() + READY;
    while dial(&places[0], other)["error"] != json!("timed out") {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
    let said = dial(&places[0], ([10, 96, 0, 11], 81));
    assert_eq!(said["errno"], nix::libc::ECONNREFUSED, "{said}");
}

/// A pod of a node without an agent dials the node port of another node, and is led back to itself. It would
/// answer itself directly, past the node that translates, if it saw its own address.
#[test]
fn a_pod_that_is_led_back_to_itself_sees_the_address_of_the_node() {
    let mut stage = Stage::start("outside-hairpin");
    let away = &mut stage.agents[1];
    away.terminate().expect("it runs");
    away.cli(&["cleanup"]).expect("removed");
    let itself = |mut service: Service| {
        service.endpoints.drain(..2);
        service
    };
    stage.change(itself, |said| said["peer"] != json!(null));
    stage.servers.clear();
    let (pod, target) = (&stage.pods[2], stage.at(0));
    let listen = || TcpListener::bind(pod.socket(8080));
    let listener = pod.place().within(listen).expect("a place").expect("a port");
    let seen_of = |place: &Place| {
        let dial = move || TcpStream::connect_timeout(&target, READY);
        let stream = place.within(dial).expect("a place").expect("connected");
        let (accepted, seen) = listener.accept().expect("a connection");
        drop((stream, accepted));
        seen.ip()
    };
    let node_ip = IpAddr::from(stage.cluster.nodes()[0].ip());
    assert_eq!(seen_of(pod.place()), node_ip, "led back to itself");
    assert_eq!(seen_of(stage.cluster.outside()), node_ip, "from outside");
    stage.await_counts(0, &[0]);
}
