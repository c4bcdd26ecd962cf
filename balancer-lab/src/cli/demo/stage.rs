//! One side of the comparison: a lab with backends, clients, and what balances between them.

use std::{process::Stdio, thread, time::Duration};

use anyhow::{Context, Result};
use balancer_lab::{
    Agent, Cluster, Lab, Node, Pod,
    heard::await_peers,
    http::{Client, Report, Server},
    kubeproxy::iptables::{self, Variant},
    manifests::{Manifests, peer_flags},
};

use super::{manifest::Web, outcome::Balancer, scenario::Scenario, text::View};

/// How long a request occupies a backend, at least: a pod can do so many requests a second and no
/// more, so a pod left idle is throughput lost, as in a cluster.
const WORK: Duration = Duration::from_millis(2);
/// The client pods on one node: as many as the largest scenario needs.
const CLIENTS: u8 = 7;
/// Flags of an agent that is one of many on a machine: smaller maps.
pub(super) const SMALL: [&str; 4] = ["--max-services", "1024", "--max-backends", "4096"];

/// One node, or several, ready for scenarios. Declared in this order, so that the processes go before
/// the nodes.
pub(super) struct Stage<Home> {
    pub(super) scene: Scene,
    home: Home,
}

/// What runs there.
pub(super) struct Scene {
    agents: Vec<Agent>,
    servers: Vec<Server>,
    clients: Vec<Pod>,
    web: Web,
}

impl Stage<Lab> {
    /// All pods on one node.
    pub(super) fn build(balancer: Balancer, keep: bool) -> Result<Self> {
        let web = Web::load()?;
        let lab = match (balancer, keep) {
            (Balancer::Iptables, _) => Lab::create("demo: kube-proxy")?,
            (_, false) => Lab::create("demo: balancer")?,
            (_, true) => Lab::create_lasting("demo: balancer")?,
        };
        let pods = lab.pods(web.pods.iter().map(|(name, address)| (name, *address.ip())))?;
        let servers = serve(&pods, &web)?;
        let clients =
            lab.pods((1..=CLIENTS).map(|n| (format!("client-{n}"), [10, 244, 0, 100 + n].into())))?;
        let agents = match balancer {
            Balancer::Iptables => {
                load_rules(lab.as_ref(), &web)?;
                Vec::new()
            }
            Balancer::LeastConnections | Balancer::ClusterLeastConnections => {
                let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
                Web::write(&manifests)?;
                vec![Agent::start(&lab, manifests.dir(), &[])?]
            }
        };
        Ok(Self { scene: Scene { agents, servers, clients, web }, home: lab })
    }

    /// Leaves the lab up, with clients that keep sending, and says how to explore it.
    pub(super) fn leave(self) -> Result<String> {
        let Self { scene: Scene { agents, servers, clients, web }, home: lab } = self;
        for pod in &clients {
            pod.command(std::env::current_exe()?)
                .args(["client", "--threads", "3", "--pace-ms", "200", "--forever"])
                .arg(web.uri()?.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("start a client in {}", pod.name()))?;
        }
        let text = super::explore::kept(&lab, &web)?;
        servers.into_iter().for_each(Server::detach);
        agents.into_iter().for_each(Agent::detach);
        lab.leave()?;
        Ok(text)
    }
}

impl Stage<Cluster> {
    /// A client pod on each of so many nodes; the backends are on the first of them.
    pub(super) fn build_nodes(balancer: Balancer, nodes: usize) -> Result<Self> {
        let cluster = match balancer {
            Balancer::Iptables => Cluster::create("demo: kube-proxy on several nodes", nodes)?,
            Balancer::LeastConnections => Cluster::create("demo: nodes alone", nodes)?,
            Balancer::ClusterLeastConnections => Cluster::create("demo: whole cluster", nodes)?,
        };
        let mut web = Web::load()?;
        let homes = web.spread_over(cluster.nodes());
        let (mut pods, mut clients) = (Vec::new(), Vec::new());
        for ((name, address), home) in web.pods.iter().zip(&homes) {
            pods.push(home.pod(name, *address.ip())?);
        }
        for (number, node) in (1..).zip(cluster.nodes()) {
            clients.push(node.pod(&format!("client-{number}"), node.pod_ip(100))?);
        }
        let servers = serve(&pods, &web)?;
        let agents = match balancer {
            Balancer::Iptables => {
                cluster.nodes().iter().try_for_each(|node| load_rules(node, &web))?;
                Vec::new()
            }
            Balancer::LeastConnections | Balancer::ClusterLeastConnections => {
                let manifests = Manifests::create(cluster.state_dir().join("manifests"))?;
                manifests.write_cluster(&cluster)?;
                manifests.write(&web.service(&homes))?;
                let mut flags = SMALL.map(str::to_owned).to_vec();
                if balancer == Balancer::ClusterLeastConnections {
                    flags.extend(peer_flags(&cluster)?);
                }
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                let agents = Agent::start_all(cluster.nodes(), manifests.dir(), &flags)?;
                if balancer == Balancer::ClusterLeastConnections {
                    agents.iter().try_for_each(|agent| await_peers(agent, nodes))?;
                }
                agents
            }
        };
        Ok(Self { scene: Scene { agents, servers, clients, web }, home: cluster })
    }
}

impl Scene {
    /// Runs a scenario. While its connections are still open, the agent of the first node, if it has
    /// one, is asked for the backends.
    pub(super) fn play(&self, scenario: Scenario) -> Result<(Report, Option<View>)> {
        let options = scenario.load(self.web.uri()?);
        let mut clients = self
            .clients
            .iter()
            .take(scenario.pods())
            .map(|pod| Client::start(pod.place(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for client in &mut clients {
            client.go()?;
            thread::sleep(scenario.stagger());
        }
        let mut sum = Report::default();
        for client in &mut clients {
            sum.merge(client.report()?);
        }
        let command = ["backends", self.web.name.as_str()];
        let output = self.agents.first().map(|agent| agent.cli(&command)).transpose()?;
        clients.into_iter().try_for_each(Client::release)?;
        let view = output.map(|output| View {
            scenario: scenario.name(),
            command: command.join(" "),
            output,
        });
        Ok((sum, view))
    }

    /// The names of the pods behind the Service.
    pub(super) fn backends(&self) -> Vec<String> {
        self.web.pods.iter().map(|(name, _)| name.clone()).collect()
    }
}

fn serve(pods: &[Pod], web: &Web) -> Result<Vec<Server>> {
    let start = |(pod, (name, address)): (&Pod, &(String, std::net::SocketAddrV4))| {
        Server::start_working(pod.place(), name, &[(*address).into()], WORK)
    };
    Ok(pods.iter().zip(&web.pods).map(start).collect::<Result<_, _>>()?)
}

fn load_rules(node: &Node, web: &Web) -> Result<()> {
    iptables::load(node.place(), Variant::Nft, &[web.service_port()])
        .context("load kube-proxy's rules; is iptables installed?")
}
