//! Nodes with an agent and a client each, whose connections move.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::common::{VIP, active};
use balancer_lab::{
    Agent, Cluster, Pod, exposition,
    http::{self, LoadOptions, Pools, Server, Until},
    manifests::{Endpoint, Manifests, Service, peer_flags},
};

/// How long clients go on.
const LIFE: Duration = Duration::from_secs(36);
pub const HEARD: Duration = Duration::from_secs(20);
/// Within how long after a change all must be even again, on a busy machine: 2 s are waited for more
/// changes, and clients that send often must be met between two requests.
pub const EVEN: Duration = Duration::from_secs(15);

/// Backends on the first node, and on each node a client whose threads keep a connection each.
pub struct Stage {
    // Dropped in this order: clients, agents and servers before the nodes they run on.
    pub clients: Vec<http::Client>,
    pub agents: Vec<Agent>,
    _servers: Vec<Server>,
    pub backends: Vec<Pod>,
    _pods: Vec<Pod>,
    pub manifests: Manifests,
    annotations: Vec<(&'static str, &'static str)>,
    pub cluster: Cluster,
}

/// Connections that an agent has ended gently for a reason.
pub fn ended_by(agent: &Agent, reason: &str) -> u64 {
    let metrics = agent.metrics().expect("metrics");
    exposition::ended(&metrics, &[("reason", reason), ("way", "gentle")])
}

impl Stage {
    /// Clients with so many connections each, all on the first of the backends that are ready.
    pub fn start(name: &str, nodes: usize, backends: u8, ready: u8, each: usize) -> Self {
        Self::start_for(LIFE, name, nodes, [backends, ready], each)
    }

    /// The same, whose clients go on for so long.
    pub fn start_for(
        life: Duration,
        name: &str,
        nodes: usize,
        backends: [u8; 2],
        each: usize,
    ) -> Self {
        Self::start_clients(Pools::PerThread, life, name, nodes, backends, each)
    }

    /// The same with clients of this kind.
    pub fn start_clients(
        pools: Pools,
        life: Duration,
        name: &str,
        nodes: usize,
        [backends, ready]: [u8; 2],
        each: usize,
    ) -> Self {
        let cluster =
            Cluster::create(name, nodes).expect("nodes; the tests need root and iproute2");
        let first = &cluster.nodes()[0];
        let backend = |n| first.pod(&format!("web-{n}"), first.pod_ip(n)).expect("backend");
        let backends: Vec<Pod> = (1..=backends).map(backend).collect();
        let serve = |pod: &Pod| {
            let listen = [pod.socket(8080)];
            let server = Server::start_for(pools, pod.place(), pod.name(), &listen, Duration::ZERO);
            server.expect("server")
        };
        let servers = backends.iter().map(serve).collect();
        let manifests = Manifests::create(cluster.state_dir().join("manifests")).expect("a folder");
        manifests.write_cluster(&cluster).expect("written");
        let flags = peer_flags(&cluster).expect("a key");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut stage = Self {
            clients: Vec::new(),
            agents: Vec::new(),
            _servers: servers,
            backends,
            _pods: Vec::new(),
            manifests,
            annotations: vec![("balancer-agent/rebalance", "true")],
            cluster,
        };
        stage.publish(ready);
        let nodes = stage.cluster.nodes();
        stage.agents = Agent::start_all(nodes, stage.manifests.dir(), &flags).expect("agents");
        let pod = |node: &balancer_lab::Node| {
            node.pod(&format!("client-{}", node.name()), node.pod_ip(200)).expect("client")
        };
        stage._pods = nodes.iter().map(pod).collect();
        let client = |pod: &Pod| {
            let uri = format!("http://{VIP}/").parse().expect("uri");
            let mut options = LoadOptions::new(uri, each, pools, Until::Elapsed(life));
            options.pace = Duration::from_millis(150);
            let mut client = http::Client::start(pod.place(), &options).expect("client");
            client.go().expect("started");
            client
        };
        stage.clients = stage._pods.iter().map(client).collect();
        let all = nodes.len() * each;
        stage.await_totals("opened", HEARD, |totals| totals.iter().sum::<u64>() == all as u64);
        stage.await_heard();
        stage
    }

    /// The Service has another annotation from when it is published next.
    pub fn annotate(&mut self, key: &'static str, value: &'static str) {
        self.annotations.push((key, value));
    }

    /// The Service with its first backends.
    pub fn publish(&self, ready: u8) {
        let node = self.cluster.nodes()[0].name();
        let endpoints = self.backends.iter().take(ready.into());
        let service = Service {
            endpoints: endpoints.map(|pod| Endpoint::ready(pod.ip()).on(node)).collect(),
            ..Service::new("web", VIP, 80, 8080, [] as [IpAddr; 0])
        };
        let annotated =
            |service: Service, (key, value): &(&str, &str)| service.annotated(key, value);
        let service = self.annotations.iter().fold(service, annotated);
        self.manifests.write(&service).expect("written");
    }

    /// Connections of all nodes to each backend, most first.
    pub fn totals(&self) -> Vec<u64> {
        let mut totals: Vec<u64> = Vec::new();
        for agent in &self.agents {
            let services = agent.json(&["services", "default/web"]).expect("services");
            let counts = active(&services[0]);
            totals.resize(totals.len().max(counts.len()), 0);
            for (total, (_, count)) in totals.iter_mut().zip(counts) {
                *total += count;
            }
        }
        totals.sort_unstable_by(|a, b| b.cmp(a));
        totals
    }

    pub fn await_totals(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&[u64]) -> bool,
    ) -> Duration {
        let started = Instant::now();
        loop {
            let totals = self.totals();
            if wanted(&totals) {
                return started.elapsed();
            }
            if started.elapsed() > within {
                let logs: Vec<_> =
                    self.agents.iter().filter_map(|agent| agent.log().ok()).collect();
                panic!("not {what}: {totals:?}\n{}", logs.join("\n---\n"));
            }
        }
    }

    /// Until every node knows what all have.
    pub fn await_heard(&self) {
        let deadline = Instant::now() + HEARD;
        let all: u64 = self.totals().iter().sum();
        for agent in &self.agents {
            loop {
                let services = agent.json(&["services", "default/web"]).expect("services");
                let backends = services[0]["backends"].as_array().expect("backends").iter();
                let known = backends.filter_map(|backend| backend["cluster_active"].as_u64());
                if known.sum::<u64>() == all {
                    break;
                }
                assert!(Instant::now() < deadline, "{services:#}");
            }
        }
    }

    /// Connections that all agents have ended for the sake of balance.
    pub fn ended(&self) -> u64 {
        self.ended_for("rebalance")
    }

    /// Connections that all agents have ended for a reason.
    pub fn ended_for(&self, reason: &str) -> u64 {
        let running = self.agents.iter().filter(|agent| agent.pid().is_some());
        running.map(|agent| ended_by(agent, reason)).sum()
    }

    /// No request of a client has failed.
    pub fn assert_served(&mut self) {
        for client in &mut self.clients {
            let report = client.report().expect("report");
            assert_eq!((report.errors, report.first_error.as_deref()), (0, None), "{report:?}");
        }
    }
}
