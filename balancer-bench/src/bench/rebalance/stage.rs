//! A lab whose agent moves connections, and what its metrics tell.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent, Lab, Pod,
    error::Result,
    exposition,
    http::{Client, LoadOptions, Pools, Server, Until},
    manifests::{Endpoint, Manifests, Service},
};

use super::super::{BACKEND_PORT, VIP};

/// Between two requests of a client.
pub(super) const PACE: Duration = Duration::from_millis(100);
/// Between two looks at the metrics.
const TICK: Duration = Duration::from_millis(20);

/// A lab. Declared in this order, so that the processes go before it.
pub(super) struct Stage {
    pub(super) agent: Agent,
    pub(super) servers: Vec<Option<Server>>,
    pub(super) pods: Vec<Pod>,
    pub(super) manifests: Manifests,
    client: Pod,
    pools: Pools,
    delay: Duration,
    _lab: Lab,
}

impl Stage {
    /// Pods that serve what such clients speak, each request after `delay`, and an agent that knows
    /// these Services.
    pub(super) fn build(
        pods: usize,
        pools: Pools,
        delay: Duration,
        services: &[Service],
    ) -> Result<Self> {
        let lab = Lab::create("bench: rebalance")?;
        let client = lab.pod("clients", Ipv4Addr::new(10, 244, 0, 200))?;
        let pods = lab.pods((0..pods).map(|n| (format!("web-{n}"), address(n))))?;
        let serve = |pod: &Pod| serve(pools, pod, delay).map(Some);
        let servers = pods.iter().map(serve).collect::<Result<_>>()?;
        let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
        for service in services {
            manifests.write(service)?;
        }
        let agent = Agent::start(&lab, manifests.dir(), &[])?;
        Ok(Self { agent, servers, pods, manifests, client, pools, delay, _lab: lab })
    }

    /// Starts the server of a pod, anew where it runs.
    pub(super) fn serve(&mut self, pod: usize) -> Result<()> {
        self.servers[pod] = None;
        self.servers[pod] = Some(serve(self.pools, &self.pods[pod], self.delay)?);
        Ok(())
    }

    /// A client of so many threads with a connection each, which sends until it is told, and pauses
    /// between an answer and its next request.
    pub(super) fn client(
        &self,
        service: &Service,
        threads: usize,
        pause: Duration,
    ) -> Result<Client> {
        let uri = format!("http://{}/", service.cluster_ip);
        let uri =
            uri.parse().map_err(|error| balancer_lab::Error::Unmet(format!("{uri}: {error}")))?;
        let mut options = LoadOptions::new(uri, threads, self.pools, Until::Told);
        options.pace = pause;
        let mut client = Client::start(self.client.place(), &options)?;
        client.go()?;
        Ok(client)
    }

    /// What the agent tells of a Service now.
    pub(super) fn look(&self, service: &Service) -> Result<Look> {
        Ok(Look::read(&self.agent.metrics()?, &service.name))
    }

    /// Looks until it is as wanted; the time that took, or none if it took too long.
    pub(super) fn wait(
        &self,
        service: &Service,
        within: Duration,
        wanted: impl Fn(&Look) -> bool,
    ) -> Result<Option<Duration>> {
        let started = Instant::now();
        while started.elapsed() < within {
            if wanted(&self.look(service)?) {
                return Ok(Some(started.elapsed()));
            }
            // Counters of the kernel can't be waited for.
            thread::sleep(TICK);
        }
        Ok(None)
    }
}

fn serve(pools: Pools, pod: &Pod, delay: Duration) -> Result<Server> {
    let listen = [pod.socket(BACKEND_PORT)];
    Server::start_for(pools, pod.place(), pod.name(), &listen, delay)
}

/// The address of a pod.
pub(super) fn address(pod: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, 1 + pod as u8)
}

/// A Service, one of several, whose connections are moved; none of its pods is ready.
pub(super) fn service(number: usize, pods: usize) -> Service {
    let ip = Ipv4Addr::from(u32::from(*VIP.ip()) + number as u32);
    let name = format!("web-{number}");
    let none = Vec::<Ipv4Addr>::new();
    let mut service = Service::new(&name, ip, VIP.port(), BACKEND_PORT, none);
    service.endpoints = (0..pods).map(|pod| endpoint(pod, false)).collect();
    service.annotated("balancer-agent/rebalance", "true")
}

/// A pod, ready or not.
pub(super) fn endpoint(pod: usize, ready: bool) -> Endpoint {
    Endpoint { ready: Some(ready), ..Endpoint::ready(address(pod)) }
}

/// One look at a Service.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Open connections of its backends, by their address and port.
    active: BTreeMap<String, u64>,
    /// Connections ended for the sake of balance.
    pub(super) ended: u64,
    /// Connections ended because they were old.
    pub(super) old: u64,
}

impl Look {
    fn read(metrics: &str, service: &str) -> Self {
        let mut look = Self::default();
        for sample in exposition::samples(metrics) {
            let is_its = sample.label("service") == Some(service);
            if is_its && sample.name == "balancer_backend_connections" {
                let backend = sample.label("backend").unwrap_or_default();
                look.active.insert(backend.to_owned(), sample.value);
            }
        }
        let ended =
            |reason| exposition::ended(metrics, &[("service", service), ("reason", reason)]);
        (look.ended, look.old) = (ended("rebalance"), ended("age"));
        look
    }

    /// All connections.
    pub(super) fn total(&self) -> u64 {
        self.active.values().sum()
    }

    /// Those of these pods.
    pub(super) fn of(&self, pods: impl Iterator<Item = usize>) -> Vec<u64> {
        let count = |pod| {
            let backend = format!("{}:{BACKEND_PORT}", address(pod));
            self.active.get(&backend).copied().unwrap_or(0)
        };
        pods.map(count).collect()
    }

    /// True if so many backends share so many connections evenly.
    pub(super) fn is_even(&self, backends: usize, connections: u64) -> bool {
        let counts: Vec<_> = self.active.values().copied().collect();
        counts.len() == backends && self.total() == connections && gap(&counts) <= 1
    }
}

/// Most minus least.
pub(super) fn gap(counts: &[u64]) -> u64 {
    counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_at_one_service() {
        let metrics = "# TYPE balancer_backend_connections gauge\n\
            balancer_backend_connections{namespace=\"a\",service=\"web-1\",backend=\"10.244.0.1:8080\"} 7\n\
            balancer_backend_connections{namespace=\"a\",service=\"web-1\",backend=\"10.244.0.3:8080\"} 6\n\
            balancer_backend_connections{namespace=\"a\",service=\"web-10\",backend=\"c\"} 60\n\
            balancer_connections_ended_total{service=\"web-1\",reason=\"drain\",way=\"gentle\"} 4\n\
            balancer_connections_ended_total{service=\"web-1\",reason=\"rebalance\",way=\"gentle\"} 13\n\
            balancer_connections_ended_total{service=\"web-1\",reason=\"age\",way=\"gentle\"} 3\n\
            balancer_problems 0\n";
        let look = Look::read(metrics, "web-1");
        assert_eq!((look.of(0..3), look.total(), look.ended, look.old), (vec![7, 0, 6], 13, 13, 3));
        assert!(look.is_even(2, 13) && !look.is_even(3, 13) && !look.is_even(2, 14), "{look:?}");
    }
}
