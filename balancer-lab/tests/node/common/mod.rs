//! What the tests with an agent share.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

pub mod bpf;
pub mod clients;
pub mod connections;
pub mod ends;
pub mod packets;
pub mod pools;
pub mod posts;
pub mod trace;
pub mod udp;

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent, Lab, Pod,
    http::Server,
    manifests::{Manifests, Service},
};
use serde_json::Value;

pub use connections::{Connection, Connections, dial};

/// The ClusterIP of [`Web`].
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// A lab with a Service `default/web` on [`VIP`], port 80, its backends, a client pod, and an agent.
pub struct Web {
    // Dropped in this order: the agent and the servers before the lab they run in.
    pub agent: Agent,
    pub servers: Vec<Server>,
    pub backends: Vec<Pod>,
    pub client: Pod,
    pub manifests: Manifests,
    pub service: Service,
    pub lab: Lab,
}

/// The address of a pod by its number.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, number)
}

impl Web {
    /// `backends` servers, numbered from 1, and a client.
    pub fn start(name: &str, backends: u8) -> Self {
        let lab = Lab::create(name).expect("a lab; the tests need root, iproute2, and cgroup2");
        let client = lab.pod("client", address(200)).expect("client");
        let pods = lab.pods((1..=backends).map(|n| (format!("web-{n}"), address(n))));
        let backends = pods.expect("backends");
        let servers = backends.iter().map(serve).collect();
        let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
        let service = Service::new("web", VIP, 80, 8080, backends.iter().map(Pod::ip));
        manifests.write(&service).expect("written");
        let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");
        Self { agent, servers, backends, client, manifests, service, lab }
    }

    /// `services -o json` for one Service.
    pub fn shown(&self, service: &str) -> Value {
        let all = self.agent.json(&["services", service]).expect("services");
        all[0].clone()
    }

    /// Changes the Service and waits until it is shown as wanted.
    pub fn change(
        &mut self,
        change: impl FnOnce(Service) -> Service,
        wanted: impl Fn(&Value) -> bool,
    ) {
        self.service = change(self.service.clone());
        self.manifests.write(&self.service).expect("written");
        let name = self.service.name.as_str();
        await_shown(&self.agent, |all| all.iter().any(|s| s["name"] == name && wanted(s)));
    }

    /// Open connections of each backend, by its address.
    pub fn counts(&self) -> Vec<u64> {
        self.active().into_iter().map(|(_, active)| active).collect()
    }

    /// Connections ever opened to each backend.
    pub fn opened(&self) -> Vec<u64> {
        let shown = self.shown("default/web");
        let backends = shown["backends"].as_array().expect("backends").iter();
        backends.map(|backend| backend["opened_total"].as_u64().expect("a number")).collect()
    }

    /// Open connections per backend, as the agent counts them.
    pub fn active(&self) -> Vec<(SocketAddr, u64)> {
        active(&self.shown("default/web"))
    }
}

/// Asks the agent for its Services until they are as wanted.
pub fn await_shown(agent: &Agent, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let shown = agent.json(&["services"]).expect("services");
        let shown = shown.as_array().expect("an array");
        if wanted(shown) {
            return shown.clone();
        }
        let log = agent.log().unwrap_or_default();
        assert!(Instant::now() < deadline, "still {shown:#?}\nlog of the agent:\n{log}");
    }
}

/// Starts the HTTP server of a backend.
pub fn serve(pod: &Pod) -> Server {
    Server::start(pod.place(), pod.name(), &[pod.socket(8080)]).expect("server")
}

/// Each frontend as `services` shows it, `TYPE ADDRESS:PORT`.
pub fn frontends(service: &Value) -> Vec<String> {
    let text = |frontend: &Value| {
        let part = |name: &str| frontend[name].as_str().expect("text").to_owned();
        format!("{} {}:{}", part("type"), part("address"), frontend["port"])
    };
    service["frontends"].as_array().expect("frontends").iter().map(text).collect()
}

/// The last number of the address of each backend that new connections may go to.
pub fn in_use(service: &Value) -> Vec<u8> {
    let backends = service["backends"].as_array().expect("backends").iter();
    let open = backends
        .filter(|backend| backend["state"] != "draining" && backend["state"] != "not-ready");
    let ip = |b: &Value| b["address"].as_str().expect("text").parse::<Ipv4Addr>().expect("IPv4");
    open.map(|backend| ip(backend).octets()[3]).collect()
}

/// Address and `active` of every backend of a Service.
pub fn active(service: &Value) -> Vec<(SocketAddr, u64)> {
    let backends = service["backends"].as_array().expect("backends");
    backends
        .iter()
        .map(|backend| {
            let ip: Ipv4Addr = backend["address"].as_str().expect("address").parse().expect("IPv4");
            let port = backend["port"].as_u64().expect("port") as u16;
            (SocketAddrV4::new(ip, port).into(), backend["active"].as_u64().expect("active"))
        })
        .collect()
}
