//! Nodes with agents, their pods, and somebody outside.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use balancer_common::layout::LAYOUT_VERSION;
use balancer_lab::{
    Agent, Cluster, Node, Pod,
    http::Server,
    manifests::{Endpoint, Manifests, Service},
};
use serde_json::{Value, json};

use crate::common::{VIP, dial};

pub const NODE_PORT: u16 = 30080;
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0x10);
/// Until the programs are on the devices of a node.
pub const READY: Duration = Duration::from_secs(30);

/// Two nodes: two backends on the first, one on the other.
pub struct Stage {
    // Dropped in this order: agents and servers before the nodes they run on.
    pub agents: Vec<Agent>,
    pub manifests: Manifests,
    pub service: Service,
    pub servers: Vec<Server>,
    pub pods: Vec<Pod>,
    pub cluster: Cluster,
}

impl Stage {
    pub fn start(name: &str) -> Self {
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
        let both = |pod: &Pod| {
            let at = [pod.socket(8080), pod.socket6(8080)];
            Server::start(pod.place(), pod.name(), &at).expect("server")
        };
        let servers = pods.iter().map(both).collect();
        let manifests = Manifests::create(cluster.state_dir().join("manifests")).expect("a folder");
        manifests.write_cluster(&cluster).expect("written");
        manifests.write(&service).expect("written");
        let agents = Agent::start_all(cluster.nodes(), manifests.dir(), &["--outside-traffic"]);
        let stage =
            Self { agents: agents.expect("agents"), manifests, service, servers, pods, cluster };
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
    pub fn change(
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

    pub fn at(&self, node: usize) -> SocketAddr {
        (self.cluster.nodes()[node].ip(), NODE_PORT).into()
    }

    /// Pins of a program on the devices of a node.
    pub fn pins(&self, node: usize, program: &str) -> Vec<PathBuf> {
        let bpffs = self.cluster.nodes()[node].state_dir().join("bpffs/balancer");
        let links = fs::read_dir(bpffs.join(format!("v{LAYOUT_VERSION}/links"))).expect("links");
        let paths = links.map(|link| link.expect("a link").path());
        paths.filter(|path| path.to_string_lossy().contains(program)).collect()
    }

    /// What `nft` prints on a node.
    pub fn nft(&self, node: usize, arguments: &[&str]) -> String {
        let mut nft = self.cluster.nodes()[node].place().command("nft");
        let output = nft.args(arguments).output().expect("nft");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Open connections of the backends of `web` through a node, in ascending order.
    pub fn counts(&self, node: usize) -> Vec<u64> {
        self.counts_of(node, "web")
    }

    /// The same of any Service.
    pub fn counts_of(&self, node: usize, name: &str) -> Vec<u64> {
        let service = format!("default/{name}");
        let shown = self.agents[node].json(&["services", &service]).expect("services");
        let backends = shown[0]["backends"].as_array().expect("backends").iter();
        let mut counts: Vec<u64> =
            backends.map(|b| b["active"].as_u64().expect("a number")).collect();
        counts.sort_unstable();
        counts
    }

    pub fn await_counts(&self, node: usize, wanted: &[u64]) {
        self.await_counts_of(node, "web", wanted);
    }

    pub fn await_counts_of(&self, node: usize, name: &str, wanted: &[u64]) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.counts_of(node, name) != wanted {
            assert!(Instant::now() < deadline, "{name}: {:?}", self.counts_of(node, name));
        }
    }
}
