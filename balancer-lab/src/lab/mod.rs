//! A lab is one fake node, or several: create it, put pods on it, and it is gone when dropped.
//!
//! What a lab `<id>` consists of, all of it found again by name after a crash:
//!
//! | what | where |
//! |---|---|
//! | state and sockets | `/run/balancer-lab/<id>/` |
//! | sign of life: a lock its owner holds | `/run/balancer-lab/<id>/lock` |
//! | bpffs | `/run/balancer-lab/<id>/bpffs` |
//! | processes | cgroup `balancer-lab-<id>`, below it `node` and `pods/<name>` |
//! | networks | namespaces `bl-<id>` (node), `bl-<id>-outside`, `bl-<id>-<pod>` |
//!
//! Where a lab has several nodes ([`Cluster`]), each has a directory, a cgroup and a namespace with
//! its name, and in them what stands above.

mod cgroup;
mod cluster;
mod estate;
mod network;
mod node;
mod place;
mod pod;
mod state;
mod sweep;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

pub use cluster::Cluster;
pub use network::POD_CIDR;
pub use node::Node;
pub use place::Place;
pub use pod::Pod;
pub use sweep::{remove_own, sweep, sweep_kept};

use estate::Estate;
use network::Reach;
use place::Bond;

use crate::{
    error::{Error, Result},
    host,
};

/// One fake node with its pods. Dropping it removes everything it made.
#[derive(Debug)]
pub struct Lab {
    node: Node,
    outside: Place,
    estate: Estate,
}

impl Lab {
    /// Makes a lab, after removing what dead owners left behind. `name` describes it in listings.
    pub fn create(name: &str) -> Result<Self> {
        Self::build(name, Bond::Tied)
    }

    /// Like [`Lab::create`], for a lab that may be left up with [`Lab::leave`]: its processes do not
    /// die with the caller.
    pub fn create_lasting(name: &str) -> Result<Self> {
        Self::build(name, Bond::Lasting)
    }

    fn build(name: &str, bond: Bond) -> Result<Self> {
        let estate = Estate::enrol(name, bond)?;
        let cgroup = estate.cgroup().to_owned();
        let place = estate.place(None, &cgroup.join("node"));
        let outside = estate.place(Some("outside"), &cgroup.join("outside"));
        let (id, dir) = (estate.id().to_owned(), estate.dir().to_owned());
        let node = Node::new("lab-node".into(), id, cgroup, dir, place, Reach::ALONE);
        // From here on a failure drops the lab, which removes the half that was made.
        let lab = Self { node, outside, estate };
        // Given up before the lab is dropped, which takes it again.
        let _building = state::building();
        cgroup::create(lab.outside.cgroup())?;
        lab.node.build()?;
        network::build_nodes(&[(lab.node.place(), lab.node.reach())], &lab.outside)?;
        Ok(lab)
    }

    /// The identifier in the names of everything that belongs to the lab.
    pub fn id(&self) -> &str {
        self.estate.id()
    }

    /// The directory for state, logs and sockets.
    pub fn state_dir(&self) -> &Path {
        self.estate.dir()
    }

    /// The lab's own bpffs.
    pub fn bpffs(&self) -> PathBuf {
        self.node.bpffs()
    }

    /// The cgroup above every process of the lab: what an agent attaches to.
    pub fn cgroup(&self) -> &Path {
        self.estate.cgroup()
    }

    /// The node itself (host network in Kubernetes' words).
    pub fn node(&self) -> &Place {
        self.node.place()
    }

    /// The network outside the node: its default gateway, where external clients live.
    pub fn outside(&self) -> &Place {
        &self.outside
    }

    /// Makes a pod; see [`Node::pods`].
    pub fn pod(&self, name: &str, ip: Ipv4Addr) -> Result<Pod> {
        self.node.pod(name, ip)
    }

    /// Makes many pods at once; see [`Node::pods`].
    pub fn pods<N: AsRef<str>>(
        &self,
        wanted: impl IntoIterator<Item = (N, Ipv4Addr)>,
    ) -> Result<Vec<Pod>> {
        self.node.pods(wanted)
    }

    /// Kills a pod's processes and takes it off the network.
    pub fn remove_pod(&self, pod: &Pod) -> Result<()> {
        self.node.remove_pod(pod)
    }

    /// Leaves the lab up when the caller exits, held by a small process inside it, until
    /// [`sweep_kept`] removes it. For labs of [`Lab::create_lasting`].
    pub fn leave(self) -> Result<()> {
        let Self { node, estate, .. } = self;
        estate.leave(node.place())
    }

    /// The place of a pod, or of the node, in a lab that is up: to run further commands there.
    pub fn find(id: Option<&str>, pod: Option<&str>) -> Result<Place> {
        let id = state::find(id)?;
        let root = host::cgroup2_root()?.join(state::cgroup_name(&id));
        let cgroup = pod.map_or_else(|| root.join("node"), |name| root.join("pods").join(name));
        if !cgroup.is_dir() {
            return Err(Error::Unmet(format!(
                "lab {id} has no pod {}; `ls {}` lists them",
                pod.unwrap_or("(node)"),
                root.join("pods").display()
            )));
        }
        Ok(Place::new(state::netns_name(&id, pod), cgroup, Bond::None))
    }

    /// The state directory of a lab that is up.
    pub fn find_state(id: Option<&str>) -> Result<PathBuf> {
        Ok(Path::new(state::RUN_DIR).join(state::find(id)?))
    }

    /// A command that runs the `balancer-lab` binary in a place.
    pub fn self_command(place: &Place) -> Result<Command> {
        Ok(place.command(host::binary("balancer-lab", "BALANCER_LAB_BIN")?))
    }
}

impl AsRef<Node> for Lab {
    fn as_ref(&self) -> &Node {
        &self.node
    }
}
