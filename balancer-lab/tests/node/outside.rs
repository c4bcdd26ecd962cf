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
use serde_json::{Value, json};

const NODE_PORT: u16 = 30080;
/// Until the programs are on the devices of a node.
const READY: Duration = Duration::from_secs(10);

/// Two nodes: two backends on the first, one on the other.
struct Stage {
    // Dropped in this order: agents and servers before the nodes they run on.
    agents: Vec<Agent>,
    manifests: Manifests,
    service: Service,
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
        let stage = Self {
            agents: agents.expect("agents"),
            manifests,
            service,
            _servers: servers,
            _pods: pods,
            cluster,
        };
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

    /// Changes the Service, and waits until a connection through the first node is answered as wanted.
    fn change(
        &mut self,
        change: impl FnOnce(Service) -> Service,
        answered: impl Fn(&Value) -> bool,
    ) {
        self.service = change(self.service.clone());
        self.manifests.write(&self.service).expect("written");
        let deadline = Instant::now() + READY;
        loop {
            let said = dial(self.cluster.outside(), self.at(0));
            if answered(&said) {
                return;
            }
            assert!(Instant::now() < deadline, "{said}");
        }
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
    let nobody = |mut service: Service| {
        service.endpoints.clear();
        service
    };
    stage.change(nobody, |said| said["errno"] == nix::libc::ECONNREFUSED);
}

#[test]
fn connections_from_outside_outlive_the_agent_and_are_counted_without_it() {
    let mut stage = Stage::start("outside-crash");
    let target = stage.at(0);
    let outside = stage.cluster.outside().clone();
    let first = Connections::open(&outside, target, 6).opened(target);
    stage.agents[0].kill().expect("it runs");
    let second = Connections::open(&outside, target, 6).opened(target);
    drop(first);
    stage.agents[0].launch().expect("started again");
    stage.await_counts(0, &[2, 2, 2]);
    drop(second);
    stage.await_counts(0, &[0, 0, 0]);
}

#[test]
fn rules_that_others_remove_are_put_back() {
    let stage = Stage::start("outside-flush");
    let mut flush = stage.cluster.nodes()[0].place().command("nft");
    assert!(flush.args(["flush", "ruleset"]).status().expect("nft").success());
    let deadline = Instant::now() + Duration::from_secs(2);
    while dial(stage.cluster.outside(), stage.at(0))["peer"] == json!(null) {
        assert!(Instant::now() < deadline, "{}", stage.agents[0].log().unwrap_or_default());
    }
}

#[test]
fn cleanup_takes_programs_and_rules_away() {
    let mut stage = Stage::start("outside-cleanup");
    stage.agents[0].terminate().expect("it runs");
    stage.agents[0].cli(&["cleanup"]).expect("removed");
    let mut list = stage.cluster.nodes()[0].place().command("nft");
    let rules = list.args(["list", "tables"]).output().expect("nft").stdout;
    assert_eq!(String::from_utf8_lossy(&rules), "");
    // Nobody listens at the port itself.
    let said = dial(stage.cluster.outside(), stage.at(0));
    assert_eq!(said["errno"], nix::libc::ECONNREFUSED, "{said}");
}
