//! A Service in a lab, clients of it, and the count of their connections from three sides.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent, Lab, Pod,
    manifests::{Manifests, Service},
    sockets::open_by_peer,
};
use serde_json::Value;

use crate::{
    process::Process,
    spread::{Seen, Spread},
};

/// The ClusterIP of the Service.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// For the agent to show what is awaited: moves wait for connections that rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a Service port carries.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// A lab with a Service, its backends, two client pods, and an agent.
pub struct Cluster<S = Process> {
    // Dropped in this order: agent and servers before the lab they run in.
    agent: Agent,
    pub servers: Vec<S>,
    pub backends: Vec<Pod>,
    pub clients: Vec<Pod>,
    /// The port of the Service and of its backends.
    port: (Transport, u16),
    manifests: Manifests,
    name: String,
    pub lab: Lab,
}

impl<S> Cluster<S> {
    /// Pods `<name>-1` and so on, in each of which `serve` starts what listens on the port; whether
    /// it listens already is the caller's matter.
    pub fn start(
        name: &str,
        backends: u8,
        port: (Transport, u16),
        serve: impl Fn(&Lab, &Pod) -> S,
    ) -> Self {
        let lab = Lab::create(name).expect("a lab; the tests need root, iproute2, and cgroup2");
        let address = |n| Ipv4Addr::new(10, 244, 0, n);
        let clients = lab.pods((1..=2).map(|n| (format!("client-{n}"), address(200 + n))));
        let pods = lab.pods((1..=backends).map(|n| (format!("{name}-{n}"), address(n))));
        let (clients, backends) = (clients.expect("clients"), pods.expect("backends"));
        let servers = backends.iter().map(|pod| serve(&lab, pod)).collect();
        let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
        write_service(&manifests, &plain(name, port, &backends), port.0);
        let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");
        Self { agent, servers, backends, clients, port, manifests, name: name.to_owned(), lab }
    }

    /// Prints where the connections went; they must be spread evenly, all be there, and all be told
    /// of alike: by the servers' answers, by the servers' kernels, and by the agent. `told` has
    /// connections and requests by backend.
    pub fn assert_spread(
        &self,
        protocol: &str,
        told: &BTreeMap<String, (u64, u64)>,
        connections: u64,
        requests: u64,
    ) {
        let spread = self.spread(told);
        println!("{protocol}: 2 clients, {connections} connections\n{spread}");
        spread.assert_even(connections);
        assert_eq!(told.values().map(|(_, requests)| requests).sum::<u64>(), requests);
    }

    /// Joins what the clients were told (connections and requests by backend) with what the servers'
    /// kernels and the agent count at this moment.
    fn spread(&self, told: &BTreeMap<String, (u64, u64)>) -> Spread {
        let counted = self.counted();
        let rows = self.backends.iter().map(|pod| {
            let (by_clients, requests) = told.get(pod.name()).copied().unwrap_or_default();
            let by_agent = counted[&pod.ip()];
            let seen = Seen { by_clients, by_server: self.accepted(pod), by_agent, requests };
            (pod.name().to_owned(), seen)
        });
        Spread(rows.collect())
    }

    /// Connections of clients that are open in a backend's own network namespace. Servers that listen
    /// on both families see IPv4 clients as `::ffff:a.b.c.d`.
    fn accepted(&self, backend: &Pod) -> Option<u64> {
        if self.port.0 == Transport::Udp {
            return None;
        }
        let peers = open_by_peer(backend.place()).expect("ss");
        let of_client = |address: &&std::net::SocketAddr| {
            self.clients.iter().any(|client| address.ip().to_canonical() == client.ip())
        };
        Some(peers.iter().filter(|(address, _)| of_client(address)).map(|(_, count)| count).sum())
    }

    /// Takes a backend out of the Service.
    pub fn remove(&self, gone: &Pod) {
        let rest = self.backends.iter().filter(|pod| pod.ip() != gone.ip());
        write_service(&self.manifests, &plain(&self.name, self.port, rest), self.port.0);
    }

    /// Changes the Service, from one with every backend, and waits until the agent shows it as wanted.
    pub fn change(&self, change: impl FnOnce(Service) -> Service, wanted: impl Fn(&Value) -> bool) {
        let service = change(plain(&self.name, self.port, &self.backends));
        write_service(&self.manifests, &service, self.port.0);
        self.await_shown("services", |services| wanted(&services[0]));
    }

    /// Waits until the agent shows what is wanted.
    pub fn await_shown(&self, verb: &str, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.agent.json(&[verb]).expect(verb);
            if wanted(&shown) {
                return;
            }
            let log = self.agent.log().unwrap_or_default();
            assert!(Instant::now() < deadline, "{verb} shows {shown:#}\nlog of the agent:\n{log}");
        }
    }

    /// Open connections by backend, as `balancer-agent backends` says.
    pub fn counted(&self) -> BTreeMap<Ipv4Addr, u64> {
        let shown = self.agent.json(&["backends"]).expect("backends");
        let backends = shown.as_array().expect("an array").iter();
        backends
            .map(|backend| {
                let address = backend["address"].as_str().expect("an address");
                (address.parse().expect("IPv4"), backend["active"].as_u64().expect("a count"))
            })
            .collect()
    }

    /// Nothing is counted any more.
    pub fn assert_idle(&self) {
        let counted = self.counted();
        assert!(counted.values().all(|count| *count == 0), "after the clients' end: {counted:?}");
    }
}

impl Cluster {
    /// Five servers of `balancer-programs`.
    pub fn of_program(protocol: &str, port: u16) -> Self {
        let mut cluster = Self::start(protocol, 5, (Transport::Tcp, port), |_, pod| {
            let address = pod.socket(port).to_string();
            Process::program(pod, &["serve", protocol, "--name", pod.name(), &address])
        });
        cluster.servers.iter_mut().for_each(Process::await_listening);
        cluster
    }

    /// Runs a client of `balancer-programs` in each client pod, checks that its requests succeed and
    /// that its connections are spread evenly, and gone from the counts once it has closed them.
    pub fn assert_even(&self, protocol: &str, connections: u64, requests: u64) {
        self.assert_even_named(protocol, connections, requests, |pod| pod.name().to_owned());
    }

    /// The same for servers that call themselves something else than their pods.
    pub fn assert_even_named(
        &self,
        protocol: &str,
        connections: u64,
        requests: u64,
        name: impl Fn(&Pod) -> String,
    ) {
        let target = format!("{VIP}:{}", self.port.1);
        let (each, over) = (connections.to_string(), requests.to_string());
        let flags = ["--connections", &each, "--requests", &over];
        let arguments = [&["client", protocol, &target], &flags[..]].concat();
        let mut clients: Vec<_> =
            self.clients.iter().map(|pod| Process::program(pod, &arguments)).collect();
        let mut told = BTreeMap::<String, (u64, u64)>::new();
        for client in &mut clients {
            let report = client.await_json();
            let counts = report["connections"].as_object().expect("counts of connections");
            for (named, count) in counts {
                let backend = self.backends.iter().find(|pod| name(pod) == *named);
                let backend = backend.unwrap_or_else(|| panic!("{named} is no backend"));
                let (connections, answered) = told.entry(backend.name().to_owned()).or_default();
                let count = count.as_u64().expect("a count");
                *connections += count;
                *answered += count * requests;
            }
        }
        self.assert_spread(protocol, &told, 2 * connections, 2 * connections * requests);
        clients.into_iter().for_each(Process::finish);
        self.assert_idle();
    }
}

/// A Service with every one of these pods as an endpoint.
fn plain<'a>(
    name: &str,
    (_, port): (Transport, u16),
    backends: impl IntoIterator<Item = &'a Pod>,
) -> Service {
    Service::new(name, VIP, port, port, backends.into_iter().map(Pod::ip))
}

fn write_service(manifests: &Manifests, service: &Service, transport: Transport) {
    let (mut object, mut slice) = (service.service(), service.endpoint_slice());
    if transport == Transport::Udp {
        object["spec"]["ports"][0]["protocol"] = "UDP".into();
        slice["ports"][0]["protocol"] = "UDP".into();
    }
    for (file, object) in [("service.json", object), ("slice.json", slice)] {
        manifests.write_text(file, &object.to_string()).expect("written");
    }
}
