//! Several nodes on one machine, each with an agent of its own.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{Connection, Connections, VIP, active, serve};
use balancer_lab::{
    Agent, Cluster, Node, Pod,
    http::Server,
    manifests::{Endpoint, Manifests, Service, peer_flags},
};
use serde_json::Value;

/// A backend on each node but the first, and a client on each.
pub struct Stage {
    // Dropped in this order: agents and servers before the nodes they run on.
    pub agents: Vec<Agent>,
    _servers: Vec<Server>,
    _backends: Vec<Pod>,
    pub clients: Vec<Pod>,
    pub manifests: Manifests,
    pub service: Service,
    pub cluster: Cluster,
}

fn client(node: &Node) -> Pod {
    node.pod(&format!("client-{}", node.name()), node.pod_ip(200)).expect("client")
}

impl Stage {
    /// Agents that count alone.
    fn start(name: &str, nodes: usize) -> Self {
        Self::start_with(name, nodes, |_| Vec::new())
    }

    /// Agents that tell each other their counts.
    pub fn start_peers(name: &str, nodes: usize) -> Self {
        Self::start_with(name, nodes, |cluster| peer_flags(cluster).expect("a key").into())
    }

    pub fn start_with(name: &str, nodes: usize, flags: impl Fn(&Cluster) -> Vec<String>) -> Self {
        let cluster =
            Cluster::create(name, nodes).expect("nodes; the tests need root and iproute2");
        let clients = cluster.nodes().iter().map(client).collect();
        let others = &cluster.nodes()[1..];
        let backend = |node: &Node| {
            node.pod(&format!("web-{}", node.name()), node.pod_ip(1)).expect("backend")
        };
        let backends: Vec<Pod> = others.iter().map(backend).collect();
        let servers = backends.iter().map(serve).collect();
        let manifests = Manifests::create(cluster.state_dir().join("manifests")).expect("a folder");
        manifests.write_cluster(&cluster).expect("written");
        let endpoint = |(pod, node): (&Pod, &Node)| Endpoint::ready(pod.ip()).on(node.name());
        let service = Service {
            endpoints: backends.iter().zip(others).map(endpoint).collect(),
            ..Service::new("web", VIP, 80, 8080, [] as [IpAddr; 0])
        };
        manifests.write(&service).expect("written");
        let flags = flags(&cluster);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let agents = Agent::start_all(cluster.nodes(), manifests.dir(), &flags).expect("agents");
        Self {
            agents,
            _servers: servers,
            _backends: backends,
            clients,
            manifests,
            service,
            cluster,
        }
    }

    /// Open connections of each backend, as the agent of a node counts them.
    pub fn counts(&self, node: usize) -> Vec<u64> {
        active(&self.shown(node)).into_iter().map(|(_, count)| count).collect()
    }

    /// Those of all nodes, as the agent of a node has heard of them.
    pub fn cluster_counts(&self, node: usize) -> Vec<Option<u64>> {
        let shown = self.shown(node);
        let backends = shown["backends"].as_array().expect("backends");
        backends.iter().map(|backend| backend["cluster_active"].as_u64()).collect()
    }

    fn shown(&self, node: usize) -> Value {
        self.agents[node].json(&["services", "default/web"]).expect("services")[0].clone()
    }

    /// Asks the agent of a node until it has heard that these are the connections of all nodes.
    pub fn await_cluster_counts(&self, node: usize, wanted: &[Option<u64>], within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let counts = self.cluster_counts(node);
            if counts == wanted {
                return;
            }
            let said = self.agents[node].cli(&["peers"]).unwrap_or_default();
            let log = self.agents[node].log().unwrap_or_default();
            assert!(Instant::now() < deadline, "node {node}: {counts:?}\n{said}\n{log}");
        }
    }
}

#[test]
fn every_node_counts_the_connections_of_its_own_clients() {
    let stage = Stage::start("nodes", 3);
    let vip: SocketAddr = (VIP, 80).into();
    let open =
        |node: usize, count| Connections::open(stage.clients[node].place(), vip, count).opened(vip);
    let _held = [open(0, 4), open(1, 2)];
    let counts: Vec<Vec<u64>> = (0..3).map(|node| stage.counts(node)).collect();
    assert_eq!(counts, [[2, 2], [1, 1], [0, 0]]);
}

/// Until all agents have heard each other, and repeated what they have, on a busy machine.
pub const HEARD: Duration = Duration::from_secs(20);

#[test]
fn every_node_hears_of_the_connections_of_all() {
    let mut stage = Stage::start_peers("peers", 3);
    let vip: SocketAddr = (VIP, 80).into();
    let open = |stage: &Stage, node: usize, count| {
        Connections::open(stage.clients[node].place(), vip, count).opened(vip)
    };
    let first = open(&stage, 0, 4);
    let _second = open(&stage, 1, 2);
    for node in 0..3 {
        stage.await_cluster_counts(node, &[Some(3), Some(3)], HEARD);
    }
    drop(first);
    for node in 0..3 {
        stage.await_cluster_counts(node, &[Some(1), Some(1)], HEARD);
    }
    // Those of a node whose agent is gone count until it was silent for long.
    stage.agents[1].kill().expect("it runs");
    stage.await_cluster_counts(0, &[Some(0), Some(0)], HEARD + Duration::from_secs(10));
}

#[test]
fn pods_and_nodes_reach_those_of_other_nodes_over_both_families() {
    let cluster = Cluster::create("reach", 3).expect("nodes");
    let [first, .., last] = cluster.nodes() else { panic!("three nodes were asked for") };
    let pod = client(last);
    let from = [client(first).place().clone(), first.place().clone(), cluster.outside().clone()];
    let listen =
        |address: SocketAddr| Server::start(pod.place(), "web", &[address]).expect("server");
    for address in [pod.socket(80), pod.socket6(80)] {
        let _server = listen(address);
        for place in &from {
            let connection = Connection::open(place, address);
            assert_eq!(connection.said["peer"], address.to_string(), "from {}", place.netns());
        }
    }
}

#[test]
fn a_pod_with_an_address_of_another_node_is_refused() {
    let cluster = Cluster::create("addresses", 2).expect("nodes");
    let [first, second] = cluster.nodes() else { panic!("two nodes were asked for") };
    let error = first.pod("web", second.pod_ip(1)).expect_err("routed to the second node");
    let text = error.to_string();
    assert!(text.contains("web: 10.244.2.1 is not in 10.244.1.0/24"), "{text}");
}
