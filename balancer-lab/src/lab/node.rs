//! A node of a lab: a network namespace that routes between its pods, a cgroup, a bpffs.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::mount::{MsFlags, mount};

use super::{
    cgroup,
    network::{self, Reach},
    place::Place,
    pod::Pod,
    state,
};
use crate::error::{Attempt, Error, Result, on};

/// One fake node with its pods.
#[derive(Debug)]
pub struct Node {
    name: String,
    /// Of the lab.
    id: String,
    cgroup: PathBuf,
    state_dir: PathBuf,
    place: Place,
    reach: Reach,
    /// Numbers the node's ends of the veth pairs.
    links: AtomicUsize,
}

impl Node {
    pub(super) fn new(
        name: String,
        id: String,
        cgroup: PathBuf,
        state_dir: PathBuf,
        place: Place,
        reach: Reach,
    ) -> Self {
        Self { name, id, cgroup, state_dir, place, reach, links: AtomicUsize::new(1) }
    }

    /// Makes its directory, its cgroup and its bpffs; the network is a matter of all nodes.
    pub(super) fn build(&self) -> Result<()> {
        cgroup::create(self.place.cgroup())?;
        let bpffs = self.bpffs();
        fs::create_dir_all(&bpffs).attempt(on("create", &bpffs))?;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), None::<&str>)
            .attempt(on("mount a bpffs at", &bpffs))
    }

    /// The node's name in Kubernetes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory for its state, logs and sockets.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Its own bpffs.
    pub fn bpffs(&self) -> PathBuf {
        self.state_dir.join("bpffs")
    }

    /// The cgroup above every process of the node: what an agent attaches to.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Where processes of the node itself run (host network in Kubernetes' words).
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its address beside the other nodes (`InternalIP` in Kubernetes' words).
    pub fn ip(&self) -> Ipv4Addr {
        self.reach.ip
    }

    /// The same of IPv6.
    pub fn ip6(&self) -> Ipv6Addr {
        self.reach.ip6
    }

    /// An address for a pod of this node.
    pub fn pod_ip(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.reach.pods.octets();
        Ipv4Addr::new(a, b, c, number)
    }

    /// Makes a pod; see [`Node::pods`].
    pub fn pod(&self, name: &str, ip: Ipv4Addr) -> Result<Pod> {
        let mut pods = self.pods([(name, ip)])?;
        pods.pop().ok_or_else(|| Error::Unmet(format!("pod {name} was not made")))
    }

    /// Makes many pods at once, much faster than one by one. Pods reach each other and the nodes;
    /// each also gets an IPv6 address derived from its IPv4 address, which must be one of the
    /// node's. Names are unique in the lab.
    pub fn pods<N: AsRef<str>>(
        &self,
        wanted: impl IntoIterator<Item = (N, Ipv4Addr)>,
    ) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for (name, ip) in wanted {
            let name = name.as_ref();
            state::check_name(name)?;
            self.reach.check_pod(name, ip)?;
            let cgroup = self.cgroup.join("pods").join(name);
            let place = self.place.beside(state::netns_name(&self.id, Some(name)), cgroup);
            let link = self.links.fetch_add(1, Ordering::Relaxed);
            pods.push(Pod::new(name, ip, place, format!("veth{link}")));
        }
        let _building = state::building();
        for pod in &pods {
            cgroup::create(pod.place().cgroup())?;
        }
        network::build_pods(&self.place, &pods)?;
        Ok(pods)
    }

    /// Kills a pod's processes and takes it off the network.
    pub fn remove_pod(&self, pod: &Pod) -> Result<()> {
        let _building = state::building();
        cgroup::remove(pod.place().cgroup())?;
        network::remove_pod(&self.place, pod)
    }

    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }
}

impl AsRef<Self> for Node {
    fn as_ref(&self) -> &Self {
        self
    }
}
