//! Where one side of a story is played: the nodes, their pods, and what balances between these.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    slice,
    time::Duration,
};

use anyhow::{Context, Result};
use balancer_lab::{
    Agent, Cluster, Lab, Node, Pod, exposition,
    heard::await_peers,
    http::{Pools, Server},
    kubeproxy::{
        ServicePort,
        iptables::{self, Variant},
    },
    manifests::{Endpoint, Manifests, Service, peer_flags},
};

use super::{
    super::stage::SMALL,
    script::{Event, Script},
    side::Side,
};

/// The Service, and the port of its pods.
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 100, 10);
pub(super) const PORT: u16 = 8080;

/// The nodes of a story.
enum Home {
    One(Lab),
    Several(Cluster),
}

impl Home {
    fn nodes(&self) -> &[Node] {
        match self {
            Self::One(lab) => slice::from_ref(lab.as_ref()),
            Self::Several(cluster) => cluster.nodes(),
        }
    }
}

/// A lab on its way through a story. Declared in this order, so that the processes go before the lab.
pub(super) struct Stage {
    agents: Vec<Agent>,
    servers: Vec<Option<Server>>,
    pools: Pools,
    /// Which pods are ready, and which terminate.
    ready: Vec<bool>,
    leaving: Vec<bool>,
    service: Service,
    manifests: Manifests,
    pub(super) pods: Vec<Pod>,
    /// The pods of the clients, one on each node.
    pub(super) clients: Vec<Pod>,
    home: Home,
}

impl Stage {
    /// The pods behind the Service are on the first of the nodes.
    pub(super) fn build(side: Side, script: &Script) -> Result<Self> {
        let name = format!("demo: {}", side.title(script.nodes.is_some()));
        let (home, state_dir) = match script.nodes {
            None => {
                let lab = Lab::create(&name)?;
                let state_dir = lab.state_dir().to_owned();
                (Home::One(lab), state_dir)
            }
            Some(nodes) => {
                let cluster = Cluster::create(&name, nodes)?;
                let state_dir = cluster.state_dir().to_owned();
                (Home::Several(cluster), state_dir)
            }
        };
        let first = &home.nodes()[0];
        let web = |n: usize| (format!("web-{n}"), first.pod_ip(10 + n as u8));
        let pods = first.pods((0..script.pods).map(web))?;
        let client = |(number, node): (usize, &Node)| {
            node.pod(&format!("clients-{number}"), node.pod_ip(200))
        };
        let clients = (1..).zip(home.nodes()).map(client).collect::<Result<_, _>>()?;
        let manifests = Manifests::create(state_dir.join("manifests"))?;
        let mut service = Service::new("web", VIP, 80, PORT, Vec::<Ipv4Addr>::new());
        if side.moves() {
            service = service
                .annotated("balancer-agent/rebalance", "true")
                .annotated("balancer-agent/drain-timeout", "1s");
        }
        let ready: Vec<_> = (0..script.pods).map(|pod| pod < script.at_first).collect();
        let mut stage = Self {
            agents: Vec::new(),
            servers: (0..script.pods).map(|_| None).collect(),
            pools: script.pools,
            leaving: vec![false; script.pods],
            ready,
            service,
            manifests,
            pods,
            clients,
            home,
        };
        for pod in 0..script.at_first {
            stage.serve(pod)?;
        }
        stage.tell(side == Side::KubeProxy)?;
        if side != Side::KubeProxy {
            stage.agents = stage.start_agents(side)?;
        }
        Ok(stage)
    }

    fn start_agents(&self, side: Side) -> Result<Vec<Agent>> {
        let cluster = match &self.home {
            Home::One(lab) => return Ok(vec![Agent::start(lab, self.manifests.dir(), &[])?]),
            Home::Several(cluster) => cluster,
        };
        self.manifests.write_cluster(cluster)?;
        let mut flags = SMALL.map(str::to_owned).to_vec();
        if side.has_peers() {
            flags.extend(peer_flags(cluster)?);
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let nodes = cluster.nodes();
        let agents = Agent::start_all(nodes, self.manifests.dir(), &flags)?;
        if side.has_peers() {
            agents.iter().try_for_each(|agent| await_peers(agent, nodes.len()))?;
        }
        Ok(agents)
    }

    /// Connections that the agents have ended, for whatever reason.
    pub(super) fn ended(&self) -> Result<u64> {
        let ended = |agent: &Agent| Ok(exposition::ended(&agent.metrics()?, &[]));
        self.agents.iter().map(ended).sum()
    }

    fn serve(&mut self, pod: usize) -> Result<()> {
        let place = &self.pods[pod];
        let listen = [place.socket(PORT)];
        let server =
            Server::start_for(self.pools, place.place(), place.name(), &listen, Duration::ZERO)?;
        self.servers[pod] = Some(server);
        Ok(())
    }

    pub(super) fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Leave(pod) => (self.ready[pod], self.leaving[pod]) = (false, true),
            Event::Kill(pod) => {
                self.servers[pod] = None;
                self.leaving[pod] = false;
            }
            Event::Join(pod) => {
                self.serve(pod)?;
                self.ready[pod] = true;
            }
        }
        self.tell(self.agents.is_empty())
    }

    /// Tells what balances which pods there are.
    fn tell(&mut self, rules: bool) -> Result<()> {
        let is_there = |pod: &usize| self.ready[*pod] || self.leaving[*pod];
        let first = &self.home.nodes()[0];
        let endpoint = |pod: usize| Endpoint {
            ready: Some(self.ready[pod]),
            serving: Some(true),
            terminating: Some(self.leaving[pod]),
            ..Endpoint::ready(self.pods[pod].ip()).on(first.name())
        };
        self.service.endpoints = (0..self.pods.len()).filter(is_there).map(endpoint).collect();
        if !rules {
            self.manifests.write(&self.service)?;
            return Ok(());
        }
        let ready = (0..self.pods.len()).filter(|pod| self.ready[*pod]);
        let port = ServicePort {
            name: "demo/web:http".into(),
            address: VIP,
            port: 80,
            backends: ready.map(|pod| SocketAddrV4::new(self.pods[pod].ip(), PORT)).collect(),
        };
        iptables::load(first.place(), Variant::Nft, &[port])
            .context("load kube-proxy's rules; is iptables installed?")
    }
}
