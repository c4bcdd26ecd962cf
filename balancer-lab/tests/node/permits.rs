//! Connections of several nodes that move as one: the fewest are ended, each with a permit of the steward,
//! and each comes back where one is missing.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use crate::common::{VIP, active, serve};
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
        [backends, ready]: [u8; 2],
        each: usize,
    ) -> Self {
        let cluster =
            Cluster::create(name, nodes).expect("nodes; the tests need root and iproute2");
        let first = &cluster.nodes()[0];
        let backend = |n| first.pod(&format!("web-{n}"), first.pod_ip(n)).expect("backend");
        let backends: Vec<Pod> = (1..=backends).map(backend).collect();
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
            let mut options = LoadOptions::new(uri, each, Pools::PerThread, Until::Elapsed(life));
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

    /// The Service with its first backends.
    pub fn publish(&self, ready: u8) {
        let node = self.cluster.nodes()[0].name();
        let endpoints = self.backends.iter().take(ready.into());
        let service = Service {
            endpoints: endpoints.map(|pod| Endpoint::ready(pod.ip()).on(node)).collect(),
            ..Service::new("web", VIP, 80, 8080, [] as [IpAddr; 0])
        };
        let service = service.annotated("balancer-agent/rebalance", "true");
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

/// Each node has one connection and sees nothing to move.
#[test]
fn the_connections_of_six_nodes_move_as_one() {
    let mut stage = Stage::start("permits", 6, 3, 1, 1);
    stage.publish(3);
    let took = stage.await_totals("even", EVEN, |totals| totals == [2, 2, 2]);
    assert_eq!(stage.ended(), 4, "after {took:?}");
    // Nothing more moves.
    thread::sleep(Duration::from_secs(10));
    assert_eq!((stage.totals(), stage.ended()), (vec![2, 2, 2], 4));
    stage.assert_served();
}

/// Whichever agent is asked, it speaks for all nodes.
#[test]
fn all_nodes_are_rebalanced_by_hand() {
    let mut stage = Stage::start("permits-hand", 4, 2, 1, 1);
    stage.publish(2);
    let deadline = Instant::now() + HEARD;
    let shown = loop {
        let shown = stage.agents[2].json(&["rebalance", "web", "--dry-run"]).expect("a dry run");
        if shown["backends"].as_array().is_some_and(|shares| shares.len() == 2) {
            break shown;
        }
        assert!(Instant::now() < deadline, "{shown:#}");
    };
    let sum = |name: &str| -> Vec<u64> {
        let shares = shown["backends"].as_array().expect("backends").iter();
        shares.map(|share| share[name].as_u64().expect("a number")).collect()
    };
    assert_eq!((&shown["nodes"], sum("connections").iter().sum::<u64>()), (&4.into(), 4));
    assert_eq!(sum("target"), [2, 2], "{shown:#}");
    // Each of two nodes has one of those that are too many, whichever these are.
    let moves = shown["node_moves"].as_array().expect("the steward says it");
    let [one, other] = &moves[..] else { panic!("{shown:#}") };
    let (from, to) = (&shown["backends"][0]["backend"], &shown["backends"][1]["backend"]);
    let (from, to) = if sum("connections")[0] == 4 { (from, to) } else { (to, from) };
    for found in [one, other] {
        assert_eq!((&found["from"], &found["to"]), (from, to), "{shown:#}");
        assert_eq!(found["connections"], 1, "{shown:#}");
    }
    let nodes: Vec<_> = stage.cluster.nodes().iter().map(balancer_lab::Node::name).collect();
    for found in [one, other] {
        let node = found["node"].as_str().expect("a name");
        assert!(nodes.contains(&node) && one["node"] != other["node"], "{shown:#}");
    }
    assert_eq!(stage.ended(), 0, "it is shown alone");
    stage.agents[2].cli(&["rebalance", "web"]).expect("moves");
    stage.await_totals("even", EVEN, |totals| totals == [2, 2]);
    assert_eq!(stage.ended(), 2);
    // That node alone has one connection, and nothing to move.
    let alone = stage.agents[2].json(&["rebalance", "web", "--dry-run", "--node"]);
    let alone = alone.expect("a dry run");
    assert_eq!((&alone["nodes"], &alone["moves"]), (&1.into(), &serde_json::json!([])));
    stage.assert_served();
}
