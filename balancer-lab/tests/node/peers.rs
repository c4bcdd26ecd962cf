//! An agent and a peer: the other one is this process, which says what it is told to.

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::common::{Connections, VIP, address, serve};
use balancer_agent::{
    desired::{BackendAddr, PortId},
    maps::identity::Family,
    model::{ObjectRef, Protocol},
    peers::{
        exchange::{Draw, Exchange},
        key::Keys,
        name::{NodeId, ServiceId},
        own::{Row, RowBackend},
        pace,
    },
};
use balancer_lab::{
    Agent, Lab, Pod,
    http::Server,
    manifests::{Manifests, Service},
};
use serde_json::Value;

const KEY: &str = "3Zt1mXo2v0bqv5rM8nQ5kq0yQvB2m0x3o1S9c7wTgkE=";
const OTHER: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// Where the agent listens, and where its peer does.
const AGENT: &str = "127.0.0.1:10357";
const PEER: &str = "127.0.0.1:10358";
const PATIENCE: Duration = Duration::from_secs(20);

/// The headless Service of the agents, each port of it in a slice of its own.
pub const PEERS: &str = "\
apiVersion: v1
kind: Service
metadata: {name: balancer-agent-peers, namespace: kube-system}
spec: {clusterIP: None, ports: [{name: peers, port: 10357, protocol: UDP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: peers-1
  namespace: kube-system
  labels: {kubernetes.io/service-name: balancer-agent-peers, service.kubernetes.io/headless: ''}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1], nodeName: lab-node}]
ports: [{name: peers, port: 10357, protocol: UDP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: peers-2
  namespace: kube-system
  labels: {kubernetes.io/service-name: balancer-agent-peers, service.kubernetes.io/headless: ''}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1], nodeName: other-node}]
ports: [{name: peers, port: 10358, protocol: UDP}]
";

pub struct Scene {
    // Dropped in this order.
    pub agent: Agent,
    _servers: Vec<Server>,
    backends: Vec<Pod>,
    client: Pod,
    pub manifests: Manifests,
    lab: Lab,
}

impl Scene {
    pub fn start(name: &str) -> Self {
        let lab = Lab::create(name).expect("a lab; the tests need root, iproute2, and cgroup2");
        let client = lab.pod("client", address(200)).expect("client");
        let backends = lab.pods((1..=2).map(|n| (format!("web-{n}"), address(n))));
        let backends = backends.expect("backends");
        let servers = backends.iter().map(serve).collect();
        let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
        let service = Service::new("web", VIP, 80, 8080, backends.iter().map(Pod::ip));
        manifests.write(&service).expect("written");
        manifests.write_text("peers.yaml", PEERS).expect("written");
        let key = lab.state_dir().join("key");
        fs::write(&key, KEY).expect("written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("a mode");
        let key = key.display().to_string();
        let flags = ["--peers", "kube-system/balancer-agent-peers", "--peer-key", &key];
        let flags = [&flags[..], &["--peer-bind-address", AGENT]].concat();
        let agent = Agent::start(&lab, manifests.dir(), &flags).expect("agent");
        Self { agent, _servers: servers, backends, client, manifests, lab }
    }

    /// A peer that has the key.
    pub fn peer_that_is_believed(&self) -> Peer {
        self.peer(KEY)
    }

    /// Connections of the client to the Service.
    pub fn open(&self, count: usize) -> Connections {
        Connections::open(self.client.place(), (VIP, 80), count).opened((VIP, 80))
    }

    /// Connections of this node to each backend.
    pub fn own(&self) -> Vec<u64> {
        let backends = self.agent.json(&["backends", "web"]).expect("backends");
        let backends = backends.as_array().expect("an array");
        backends.iter().map(|backend| backend["active"].as_u64().expect("a number")).collect()
    }

    /// Until all of them have ended.
    pub fn await_none(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.own().iter().any(|active| *active > 0) {
            assert!(Instant::now() < deadline, "still {:?}", self.own());
        }
    }

    fn socket(&self) -> UdpSocket {
        let socket = self.lab.node().within(|| UdpSocket::bind(PEER)).expect("a namespace");
        let socket = socket.expect("a socket");
        socket.set_nonblocking(true).expect("a socket that does not wait");
        socket
    }

    fn peer(&self, key: &str) -> Peer {
        let keys = Keys::parse(key, Path::new("key")).expect("a key");
        let draw: Draw = Box::new(rand::random);
        let mut exchange = Exchange::new(NodeId::of("other-node"), keys, draw);
        exchange.set_peers(Duration::ZERO, &[NodeId::of("lab-node"), NodeId::of("other-node")]);
        let service = ObjectRef { namespace: "default".into(), name: "web".into() };
        let port = PortId { service, port: "http".into(), protocol: Protocol::Tcp };
        let service = ServiceId::of(&port, Family::V4);
        let addrs: Vec<_> = {
            let sockets = self.backends.iter().map(|pod| pod.socket(8080));
            sockets.map(|addr| BackendAddr::new(addr, Protocol::Tcp)).collect()
        };
        let backends =
            addrs.iter().zip(1..).map(|(addr, id)| RowBackend { id, addr: *addr, weight: 1 });
        let row = Row { id: 1, service, weighted: false, backends: backends.collect() };
        exchange.node_mut().set_rows(Duration::ZERO, vec![row]);
        Peer { exchange, socket: self.socket(), start: Instant::now(), service, addrs }
    }

    /// `cluster_active` of each backend, as the agent shows it.
    pub fn shown(&self) -> Vec<Option<u64>> {
        let backends = self.agent.json(&["backends", "web"]).expect("backends");
        let backends = backends.as_array().expect("an array");
        backends.iter().map(|backend| backend["cluster_active"].as_u64()).collect()
    }

    fn counts(&self) -> Value {
        self.agent.json(&["status"]).expect("status")["counts"].clone()
    }
}

/// The agent of another node.
pub struct Peer {
    exchange: Exchange,
    socket: UdpSocket,
    start: Instant,
    service: ServiceId,
    addrs: Vec<BackendAddr>,
}

impl Peer {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn observe(&mut self, backend: u32, active: u32) {
        let now = self.now();
        self.exchange.node_mut().observe(now, backend, active, active.into());
    }

    /// What the agent has of each backend, as it has told.
    fn heard(&self) -> Vec<Option<u64>> {
        let (node, now) = (self.exchange.node(), self.now());
        self.addrs.iter().map(|addr| node.cluster(now, self.service, addr, 0)).collect()
    }

    /// Listens and speaks until something is so.
    pub fn until(&mut self, what: &str, mut wanted: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 2_048];
        while !wanted(self) {
            assert!(Instant::now() < deadline, "not {what}: heard {:?}", self.heard());
            let now = self.now();
            while let Ok(length) = self.socket.recv(&mut buffer) {
                // Why one is not believed is what some tests are about.
                let _ = self.exchange.receive(now, &mut buffer[..length]);
            }
            for (_, datagram) in self.exchange.due(now) {
                self.socket.send_to(&datagram, AGENT).expect("sent");
            }
            let next = self.exchange.next().saturating_sub(self.now());
            thread::sleep(next.min(Duration::from_millis(5)));
        }
    }
}

#[test]
fn an_agent_and_its_peer_learn_what_the_other_has() {
    let scene = Scene::start("peers-learn");
    let mut peer = scene.peer(KEY);
    let connections = Connections::open(scene.client.place(), (VIP, 80), 4);
    peer.until("told", |peer| peer.heard() == [Some(2), Some(2)]);
    peer.observe(1, 5);
    peer.until("shown", |_| scene.shown() == [Some(7), Some(2)]);
    // The programs choose by what both have: 7 and 2. What is shown may be written a moment later.
    let shown = Instant::now();
    peer.until("written", |_| shown.elapsed() > 3 * pace::LEVEL);
    let more = Connections::open(scene.client.place(), (VIP, 80), 3);
    peer.until("led to the other one", |peer| peer.heard() == [Some(2), Some(5)]);
    drop(more);
    peer.until("told of their end", |peer| peer.heard() == [Some(2), Some(2)]);
    let counts = scene.counts();
    assert_eq!((&counts["nodes"], &counts["alone"]), (&2.into(), &Value::Null), "{counts}");
    let peers = scene.agent.json(&["peers"]).expect("peers");
    assert_eq!((&peers[0]["node"], &peers[0]["this_node"]), (&"lab-node".into(), &true.into()));
    assert!(peers[1]["heard_ms"].as_u64().expect("a number") < 3_000, "{peers}");
    let stewards = |index: usize| peers[index]["steward_of"].as_u64().expect("a number");
    assert_eq!(stewards(0) + stewards(1), 1, "one of the two: {peers}");
    drop(connections);
    peer.until("told of the end", |peer| peer.heard() == [Some(0), Some(0)]);
    // It is silent: the agent counts alone, as soon as what it was told is too old.
    drop(peer);
    let deadline = Instant::now() + PATIENCE;
    while scene.counts()["alone"] != "no peer is heard" || scene.shown() != [None, None] {
        assert!(Instant::now() < deadline, "{} {:?}", scene.counts(), scene.shown());
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_peer_with_another_key_is_not_believed_and_gets_no_answer() {
    let scene = Scene::start("peers-key");
    let mut peer = scene.peer(OTHER);
    peer.observe(1, 5);
    let forged = |counts: &Value| {
        let rejected = counts["rejected"].as_array().expect("an array").iter();
        let forged = rejected.filter(|reason| reason["name"] == "forged");
        forged.map(|reason| reason["total"].as_u64().expect("a number")).sum::<u64>()
    };
    peer.until("rejected", |_| forged(&scene.counts()) >= 3);
    assert_eq!(scene.shown(), [None, None]);
    assert_eq!(scene.counts()["received_total"], 0);
}
