//! Node ports at addresses beside those of the Node object: of other nodes, and of the loopback.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    common::{Connections, dial, frontends},
    nodes::Stage,
};
use balancer_lab::{Place, manifests::peer_flags};
use nix::libc::ECONNREFUSED;
use serde_json::json;

const NODE_PORT: u16 = 30080;

/// Three nodes whose agents know each other, and capture the loopback too; the Service has a node port.
fn start(name: &str) -> Stage {
    let mut stage = Stage::start_with(name, 3, |cluster| {
        let places = ["--nodeport-addresses", "primary,localhost"].map(str::to_owned);
        peer_flags(cluster).expect("a key").into_iter().chain(places).collect()
    });
    let port = json!({"name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": "TCP"});
    stage.service =
        stage.service.clone().with("type", json!("NodePort")).with("ports", json!([port]));
    write(&stage, 2);
    stage
}

/// Writes the Service and waits until every agent has so many addresses of it.
fn write(stage: &Stage, addresses: usize) {
    stage.manifests.write(&stage.service).expect("written");
    let deadline = Instant::now() + Duration::from_secs(10);
    for agent in &stage.agents {
        loop {
            let shown = agent.json(&["services", "default/web"]).expect("services")[0].clone();
            if frontends(&shown).len() == addresses {
                break;
            }
            assert!(Instant::now() < deadline, "{shown:#}\n{}", agent.log().unwrap_or_default());
        }
    }
}

/// The node port at a node, counted from 0.
fn at(stage: &Stage, node: usize) -> SocketAddr {
    (stage.cluster.nodes()[node].ip(), NODE_PORT).into()
}

/// How many of so many connections each backend has, as the agent of the first node counts.
fn spread(stage: &Stage, place: &Place, target: SocketAddr, count: usize) -> Vec<u64> {
    let _held = Connections::open(place, target, count).opened(target);
    stage.counts(0)
}

#[test]
fn node_ports_of_other_nodes_are_balanced_where_they_are_dialled() {
    let stage = start("node-ports");
    let (pod, node) = (stage.clients[0].place(), stage.cluster.nodes()[0].place());
    for target in [0, 1, 2] {
        for place in [pod, node] {
            assert_eq!(spread(&stage, place, at(&stage, target), 6), [3, 3], "node {target}");
        }
    }
    // Nobody listens at the port of a node that is none.
    let gateway: IpAddr = Ipv4Addr::new(172, 18, 0, 1).into();
    assert_eq!(dial(pod, (gateway, NODE_PORT))["errno"], ECONNREFUSED);
}

#[test]
fn node_ports_are_on_the_loopback_of_the_node_and_not_of_pods() {
    let stage = start("node-ports-lo");
    let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, NODE_PORT).into();
    assert_eq!(spread(&stage, stage.cluster.nodes()[0].place(), loopback, 6), [3, 3]);
    assert_eq!(dial(stage.clients[0].place(), loopback)["errno"], ECONNREFUSED);
}

#[test]
fn a_local_external_policy_keeps_to_the_node_that_is_dialled() {
    let mut stage = start("node-ports-own");
    stage.service = stage.service.clone().with("externalTrafficPolicy", json!("Local"));
    // Those of the two nodes with an endpoint beside the own one: an agent of such a node has one less.
    stage.manifests.write(&stage.service).expect("written");
    let deadline = Instant::now() + Duration::from_secs(10);
    let client = stage.clients[0].place();
    while spread(&stage, client, at(&stage, 1), 4) != [4, 0] {
        assert!(Instant::now() < deadline, "{:?}", stage.counts(0));
    }
    assert_eq!(spread(&stage, client, at(&stage, 2), 4), [0, 4]);
    // In-cluster clients of their own node use all endpoints, as with kube-proxy.
    assert_eq!(spread(&stage, client, at(&stage, 0), 4), [2, 2]);

    // The first node has no endpoint.
    let refused = loop {
        let said = dial(stage.clients[1].place(), at(&stage, 0));
        if said["errno"] == ECONNREFUSED || Instant::now() > deadline {
            break said;
        }
    };
    assert_eq!(refused["errno"], ECONNREFUSED, "{refused}");
}
