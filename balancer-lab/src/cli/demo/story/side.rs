//! One side: a lab, what balances in it, and the clients.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use balancer_lab::{
    Agent, Lab, Pod,
    http::{Client, LoadOptions, Pools, Server, Until},
    kubeproxy::{
        ServicePort,
        iptables::{self, Variant},
    },
    manifests::{Endpoint, Manifests, Service},
};
use serde::Serialize;

use super::{
    Course, Story,
    sample::Sampler,
    script::{Event, Script},
};

/// What balances.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Side {
    /// kube-proxy's rules.
    KubeProxy,
    /// balancer, for new connections alone.
    Starts,
    /// balancer, with moves.
    Moves,
}

impl Side {
    pub(super) const ALL: [Self; 3] = [Self::KubeProxy, Self::Starts, Self::Moves];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::KubeProxy => "kube-proxy (iptables)",
            Self::Starts => "balancer, new connections only",
            Self::Moves => "balancer, rebalance and drain-timeout",
        }
    }
}

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 100, 10);
const PORT: u16 = 8080;
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(100);
/// Between two samples.
const TICK: Duration = Duration::from_millis(250);

/// Has one side go through a story.
pub(super) fn play(side: Side, story: Story) -> Result<Course> {
    let script = Script::of(story);
    let mut stage = Stage::build(side, &script)?;
    let uri = format!("http://{VIP}/").parse()?;
    let mut options =
        LoadOptions::new(uri, script.clients, script.pools, Until::Elapsed(script.length));
    options.pace = PACE;
    let mut client = Client::start(stage.client.place(), &options)?;
    client.go()?;
    let started = Instant::now();
    let mut events = script.events.iter().peekable();
    let (mut sampler, mut samples, mut joined) = (Sampler::default(), Vec::new(), 0.0);
    for tick in 1.. {
        let at = TICK * tick;
        if at >= script.length {
            break;
        }
        thread::sleep((started + at).saturating_duration_since(Instant::now()));
        while let Some((_, event)) = events.next_if(|(due, _)| *due <= at) {
            stage.happen(*event)?;
            joined = started.elapsed().as_secs_f64();
        }
        samples.push(sampler.take(&stage.pods, PORT, started.elapsed())?);
    }
    let report = client.report()?;
    let requests = report.requests();
    let (failed, first_error) = (report.failed_at, report.first_error);
    Ok(Course { side, samples, requests, failed, first_error, joined })
}

/// A lab on its way through a story. Declared in this order, so that the processes go before the lab.
struct Stage {
    agent: Option<Agent>,
    servers: Vec<Option<Server>>,
    pools: Pools,
    /// Which pods are ready, and which terminate.
    ready: Vec<bool>,
    leaving: Vec<bool>,
    service: Service,
    manifests: Manifests,
    pods: Vec<Pod>,
    client: Pod,
    lab: Lab,
}

impl Stage {
    fn build(side: Side, script: &Script) -> Result<Self> {
        let lab = Lab::create(&format!("demo: {}", side.title()))?;
        let address = |number: usize| Ipv4Addr::new(10, 244, 0, 10 + number as u8);
        let pods = lab.pods((0..script.pods).map(|n| (format!("web-{n}"), address(n))))?;
        let client = lab.pod("clients", Ipv4Addr::new(10, 244, 0, 200))?;
        let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
        let mut service = Service::new("web", VIP, 80, PORT, Vec::<Ipv4Addr>::new());
        if side == Side::Moves {
            service = service
                .annotated("balancer-agent/rebalance", "true")
                .annotated("balancer-agent/drain-timeout", "1s");
        }
        let ready: Vec<_> = (0..script.pods).map(|pod| pod < script.at_first).collect();
        let mut stage = Self {
            agent: None,
            servers: (0..script.pods).map(|_| None).collect(),
            pools: script.pools,
            leaving: vec![false; script.pods],
            ready,
            service,
            manifests,
            pods,
            client,
            lab,
        };
        for pod in 0..script.at_first {
            stage.serve(pod)?;
        }
        stage.tell(side == Side::KubeProxy)?;
        if side != Side::KubeProxy {
            stage.agent = Some(Agent::start(&stage.lab, stage.manifests.dir(), &[])?);
        }
        Ok(stage)
    }

    fn serve(&mut self, pod: usize) -> Result<()> {
        let place = &self.pods[pod];
        let listen = [place.socket(PORT)];
        let server =
            Server::start_for(self.pools, place.place(), place.name(), &listen, Duration::ZERO)?;
        self.servers[pod] = Some(server);
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<()> {
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
        self.tell(self.agent.is_none())
    }

    /// Tells what balances which pods there are.
    fn tell(&mut self, rules: bool) -> Result<()> {
        let is_there = |pod: &usize| self.ready[*pod] || self.leaving[*pod];
        let endpoint = |pod: usize| Endpoint {
            ready: Some(self.ready[pod]),
            serving: Some(true),
            terminating: Some(self.leaving[pod]),
            ..Endpoint::ready(self.pods[pod].ip())
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
        iptables::load(self.lab.node(), Variant::Nft, &[port])
            .context("load kube-proxy's rules; is iptables installed?")
    }
}
