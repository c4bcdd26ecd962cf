//! A lab of several nodes, as one machine can hold them: for what agents tell each other.

use std::path::Path;

use super::{Node, Place, cgroup, estate::Estate, network, place::Bond, state};
use crate::error::{Error, Result};

/// How many nodes a lab may have: each has a network of 256 addresses for pods.
const MOST_NODES: usize = 250;

/// Fake nodes on one bridge, each with its pods. Dropping it removes everything it made.
///
/// A node `node-<n>`, counted from 1, has the cgroup `<cluster>/node-<n>`, the directory
/// `<state>/node-<n>` with its bpffs, the network namespace `bl-<id>-node-<n>`, the addresses
/// 172.18.1.n and fd00:172:18::1:n, and pods in 10.244.n.0/24.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    outside: Place,
    estate: Estate,
}

impl Cluster {
    /// Makes so many nodes, after removing what dead owners left behind. `name` describes the lab in
    /// listings.
    pub fn create(name: &str, nodes: usize) -> Result<Self> {
        if !(1..=MOST_NODES).contains(&nodes) {
            return Err(Error::Unmet(format!(
                "{nodes} nodes were asked for; a lab has 1 to {MOST_NODES}"
            )));
        }
        // A failure drops it, which removes the half that was made.
        let estate = Estate::enrol(name, Bond::Tied)?;
        let outside = estate.place(Some("outside"), &estate.cgroup().join("outside"));
        let nodes = (1..=nodes as u8).map(|number| node(&estate, number)).collect();
        let cluster = Self { nodes, outside, estate };
        // Given up before the cluster is dropped, which takes it again.
        let _building = state::building();
        cgroup::create(cluster.outside.cgroup())?;
        cluster.nodes.iter().try_for_each(Node::build)?;
        let nodes: Vec<_> = cluster.nodes.iter().map(|node| (node.place(), node.reach())).collect();
        network::build_nodes(&nodes, &cluster.outside)?;
        Ok(cluster)
    }

    /// The identifier in the names of everything that belongs to the lab.
    pub fn id(&self) -> &str {
        self.estate.id()
    }

    /// The directory for what the nodes share.
    pub fn state_dir(&self) -> &Path {
        self.estate.dir()
    }

    /// The nodes, in the order of their numbers.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The network outside the nodes: the bridge between them, and their default gateway.
    pub fn outside(&self) -> &Place {
        &self.outside
    }
}

fn node(estate: &Estate, number: u8) -> Node {
    let name = format!("node-{number}");
    let cgroup = estate.cgroup().join(&name);
    let place = estate.place(Some(&name), &cgroup.join("node"));
    let state_dir = estate.dir().join(&name);
    let reach = network::Reach::of_number(number);
    Node::new(name, estate.id().to_owned(), cgroup, state_dir, place, reach)
}
