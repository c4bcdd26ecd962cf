//! One side of the comparison: a lab with backends, clients, and what balances between them.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result};
use balancer_lab::{
    Agent, Lab, Pod,
    http::{Client, Report, Server},
    kubeproxy::iptables::{self, Variant},
    manifests::Manifests,
};

use super::{manifest::Web, outcome::Balancer, scenario::Scenario};

/// How long a request occupies a backend, at least: a pod can do so many requests a second and no
/// more, so a pod left idle is throughput lost, as in a cluster.
const WORK: Duration = Duration::from_millis(2);
/// The client pods: as many as the largest scenario needs.
const CLIENTS: u8 = 7;

/// A lab ready for scenarios. Declared in this order, so that the processes go before the lab.
pub(super) struct Stage {
    agent: Option<Agent>,
    servers: Vec<Server>,
    clients: Vec<Pod>,
    lab: Lab,
}

impl Stage {
    pub(super) fn build(balancer: Balancer, web: &Web, keep: bool) -> Result<Self> {
        let lab = match (balancer, keep) {
            (Balancer::Iptables, _) => Lab::create("demo: kube-proxy")?,
            (Balancer::LeastConnections, false) => Lab::create("demo: balancer")?,
            (Balancer::LeastConnections, true) => Lab::create_lasting("demo: balancer")?,
        };
        let pods = lab.pods(web.pods.iter().map(|(name, address)| (name, *address.ip())))?;
        let servers = pods
            .iter()
            .zip(&web.pods)
            .map(|(pod, (name, address))| {
                Server::start_working(pod.place(), name, &[(*address).into()], WORK)
            })
            .collect::<Result<_, _>>()?;
        let clients =
            lab.pods((1..=CLIENTS).map(|n| (format!("client-{n}"), [10, 244, 0, 100 + n].into())))?;
        let agent = match balancer {
            Balancer::Iptables => {
                iptables::load(lab.node(), Variant::Nft, &[web.service_port()])
                    .context("load kube-proxy's rules; is iptables installed?")?;
                None
            }
            Balancer::LeastConnections => {
                let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
                Web::write(&manifests)?;
                Some(Agent::start(&lab, manifests.dir(), &[])?)
            }
        };
        Ok(Self { agent, servers, clients, lab })
    }

    /// Runs a scenario; the connections are still open when `look` is called.
    pub(super) fn play<T>(
        &self,
        scenario: Scenario,
        web: &Web,
        look: impl FnOnce(Option<&Agent>) -> Result<T>,
    ) -> Result<(Report, T)> {
        let options = scenario.load(web.uri()?);
        let mut clients = self
            .clients
            .iter()
            .take(scenario.pods())
            .map(|pod| Client::start(pod.place(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        clients.iter_mut().try_for_each(Client::go)?;
        let mut sum = Report::default();
        for client in &mut clients {
            sum.merge(client.report()?);
        }
        let seen = look(self.agent.as_ref())?;
        clients.into_iter().try_for_each(Client::release)?;
        Ok((sum, seen))
    }

    /// Leaves the lab up, with clients that keep sending, and says how to explore it.
    pub(super) fn leave(self, web: &Web) -> Result<String> {
        let Self { agent, servers, clients, lab } = self;
        let agent = agent.context("only the balancer's lab can be left up")?;
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
        let text = super::explore::kept(&lab, web)?;
        servers.into_iter().for_each(Server::detach);
        agent.detach();
        lab.leave()?;
        Ok(text)
    }
}
