//! Connections from outside of the nodes, through node ports.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{Connections, VIP, active, dial, serve};
use balancer_lab::{
    Agent, Cluster, Node, Pod,
    http::Server,
    manifests::{Endpoint, Manifests, Service},
};
use serde_json::json;

const NODE_PORT: u16 = 30080;
/// Until the programs are on the devices of a node.
const READY: Duration = Duration::from_secs(10);

/// Two nodes: two backends on the first, one on the other.
struct Stage {
    // Dropped in this order: agents and servers before the nodes they run on.
    agents: Vec<Agent>,
    _servers: Vec<Server>,
    _pods: Vec<Pod>,
    cluster: Cluster,
}

impl Stage {
    fn start(name: &str) -> Self {
        let cluster = Cluster::create(name, 2).expect("nodes; the tests need root and iproute2");
        let [first, second] = cluster.nodes() else { panic!("two nodes were asked for") };
        let pod = |node: &Node, number: u8| {
            let pod = node.pod(&format!("{}-{number}", node.name()), node.pod_ip(number));
            (pod.expect("a pod"), node.name().to_owned())
        };
        let placed = [pod(first, 1), pod(first, 2), pod(second, 1)];
        let endpoint = |(pod, node): &(Pod, String)| Endpoint::ready(pod.ip()).on(node);
        let port = json!({"name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": "TCP"});
        let service = Service {
            endpoints: placed.iter().map(endpoint).collect(),
            ..Service::new("web", VIP, 80, 8080, [] as [IpAddr; 0])
        };
        let service = service.with("type", json!("NodePort")).with("ports", json!([port]));
        let pods: Vec<Pod> = placed.into_iter().map(|(pod, _)| pod).collect();
        let servers = pods.iter().map(serve).collect();
        let manifests = Manifests::create(cluster.state_dir().join("manifests")).expect("a folder");
        manifests.write_cluster(&cluster).expect("written");
        manifests.write(&service).expect("written");
        let agents = Agent::start_all(cluster.nodes(), manifests.dir(), &["--outside-traffic"]);
        let stage =
            Self { agents: agents.expect("agents"), _servers: servers, _pods: pods, cluster };
        let deadline = Instant::now() + READY;
        for node in 0..2 {
            while dial(stage.cluster.outside(), stage.at(node))["peer"] == json!(null) {
                let log = stage.agents[node].log().unwrap_or_default();
                assert!(Instant::now() < deadline, "{log}");
            }
            stage.await_counts(node, &[0, 0, 0]);
        }
        stage
    }

    fn at(&self, node: usize) -> SocketAddr {
        (self.cluster.nodes()[node].ip(), NODE_PORT).into()
    }

    /// Open connections of the backends through a node, in ascending order.
    fn counts(&self, node: usize) -> Vec<u64> {
        let shown = self.agents[node].json(&["services", "default/web"]).expect("services");
        let mut counts: Vec<u64> = active(&shown[0]).into_iter().map(|(_, count)| count).collect();
        counts.sort_unstable();
        counts
    }

    fn await_counts(&self, node: usize, wanted: &[u64]) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.counts(node) != wanted {
            assert!(Instant::now() < deadline, "node {node}: {:?}", self.counts(node));
        }
    }
}

#[test]
fn connections_from_outside_are_spread_and_counted() {
    let stage = Stage::start("outside");
    for node in 0..2 {
        let target = stage.at(node);
        let held = Connections::open(stage.cluster.outside(), target, 20).opened(target);
        assert_eq!(stage.counts(node), [6, 7, 7], "through node {node}");
        drop(held);
        stage.await_counts(node, &[0, 0, 0]);
    }
}
