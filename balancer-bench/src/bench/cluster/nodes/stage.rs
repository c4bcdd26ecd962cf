//! Several nodes, each with its agent and a client, and pods behind several Services.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent, Cluster, Pod,
    error::{Error, Result},
    heard::await_peers,
    manifests::{Manifests, peer_flags},
};

use super::{dialer::Dialer, lane::Lane, maps::Maps};

/// Flags of an agent that is one of many on a machine: smaller maps.
const SMALL: [&str; 4] = ["--max-services", "1024", "--max-backends", "4096"];
/// How long agents may take until they have what was written, or heard.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often their maps are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(2);

/// The nodes. Declared in this order, so that processes go before what they run on.
pub(super) struct Stage {
    pub(super) agents: Vec<Agent>,
    pub(super) dialers: Vec<Dialer>,
    pub(super) maps: Vec<Maps>,
    manifests: Manifests,
    pods: Vec<Pod>,
    cluster: Cluster,
}

impl Stage {
    /// So many nodes and pods, and Services that are dialled side by side. All agents have heard
    /// each other.
    pub(super) fn build(nodes: usize, pods: usize, lanes: u8) -> Result<(Self, Vec<Lane>)> {
        let cluster = Cluster::create("bench: cluster", nodes)?;
        let homes = cluster.nodes().iter().cycle();
        let pod = |(number, home): (u8, &balancer_lab::Node)| {
            home.pod(&format!("web-{number}"), home.pod_ip(number))
        };
        let pods = (1..=pods as u8).zip(homes).map(pod).collect::<Result<Vec<_>>>()?;
        let lanes = (0..lanes).map(|number| Lane::open(number, &pods));
        let lanes = lanes.collect::<Result<Vec<_>>>()?;
        let client = |node: &balancer_lab::Node| {
            Dialer::start(node.pod(&format!("client-{}", node.name()), node.pod_ip(200))?.place())
        };
        let dialers = cluster.nodes().iter().map(client).collect::<Result<_>>()?;
        let manifests = Manifests::create(cluster.state_dir().join("manifests"))?;
        manifests.write_cluster(&cluster)?;
        let flags = peer_flags(&cluster)?;
        let flags: Vec<&str> = SMALL.into_iter().chain(flags.iter().map(String::as_str)).collect();
        let agents = Agent::start_all(cluster.nodes(), manifests.dir(), &flags)?;
        agents.iter().try_for_each(|agent| await_peers(agent, nodes))?;
        let maps = cluster.nodes().iter().map(Maps::open).collect::<Result<_>>()?;
        Ok((Self { agents, dialers, maps, manifests, pods, cluster }, lanes))
    }

    /// Where a pod serves a lane.
    pub(super) fn backend(&self, lane: &Lane, pod: usize) -> SocketAddr {
        lane.backend(&self.pods[pod])
    }

    /// Gives the Service of a lane these pods, and waits until every node has them.
    pub(super) fn publish(&self, lane: &Lane, row: &[usize]) -> Result<()> {
        let nodes = self.cluster.nodes();
        let pods = row.iter().map(|pod| (&self.pods[*pod], nodes[pod % nodes.len()].name()));
        self.manifests.write(&lane.service(pods))?;
        let wanted: HashSet<SocketAddr> = row.iter().map(|pod| self.backend(lane, *pod)).collect();
        let name = lane.name();
        for maps in &self.maps {
            let what = || format!("{wanted:?} in the row of {name}");
            self.wait(what, || Ok(maps.row(&name)?.into_keys().collect::<HashSet<_>>() == wanted))?;
        }
        Ok(())
    }

    /// Waits until no node has a connection to what is in the row of a lane, nor takes another one
    /// to have any.
    pub(super) fn await_none(&self, lane: &Lane) -> Result<()> {
        let name = lane.name();
        for maps in &self.maps {
            let ids: BTreeSet<u32> = maps.row(&name)?.into_values().collect();
            let none = |id: &u32| maps.active(*id) == 0 && maps.others(*id) == 0;
            self.wait(|| format!("no connection to {name}"), || Ok(ids.iter().all(none)))?;
        }
        Ok(())
    }

    fn wait(&self, what: impl Fn() -> String, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so()? {
            if Instant::now() >= deadline {
                let log = self.agents.first().map(Agent::log).transpose()?.unwrap_or_default();
                let log = balancer_lab::host::tail(&log, 10);
                return Err(Error::Unmet(format!("not within {PATIENCE:?}: {}\n{log}", what())));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}
