//! A lab is one fake node: create it, put pods on it, and it is gone when dropped.
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

mod cgroup;
mod network;
mod place;
mod pod;
mod state;
mod sweep;

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::mount::{MsFlags, mount};

pub use network::POD_CIDR;
pub use place::Place;
pub use pod::Pod;
pub use sweep::{remove_own, sweep, sweep_kept};

use place::Bond;

use crate::{
    error::{Attempt, Error, Result, on},
    host,
};

/// One fake node with its pods. Dropping it removes everything it made.
#[derive(Debug)]
pub struct Lab {
    id: String,
    state: state::State,
    cgroup: PathBuf,
    node: Place,
    outside: Place,
    bond: Bond,
    /// Numbers the node's ends of the veth pairs.
    links: AtomicUsize,
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
        let root = host::cgroup2_root()?;
        let state = {
            let census = state::Census::take()?;
            sweep::sweep_dead(&census)?;
            census.enrol(name)?
        };
        let id = state.id().to_owned();
        let cgroup = root.join(state::cgroup_name(&id));
        let node = Place::new(state::netns_name(&id, None), cgroup.join("node"), bond);
        let outside =
            Place::new(state::netns_name(&id, Some("outside")), cgroup.join("outside"), bond);
        // From here on a failure drops the lab, which removes the half that was made.
        let lab = Self { id, state, cgroup, node, outside, bond, links: AtomicUsize::new(1) };
        // Given up before the lab is dropped, which takes it again.
        let _building = state::building();
        cgroup::create(lab.node.cgroup())?;
        cgroup::create(lab.outside.cgroup())?;
        let bpffs = lab.bpffs();
        fs::create_dir(&bpffs).attempt(on("create", &bpffs))?;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), None::<&str>)
            .attempt(on("mount a bpffs at", &bpffs))?;
        network::build_node(&lab.node, &lab.outside)?;
        Ok(lab)
    }

    /// The identifier in the names of everything that belongs to the lab.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory for state, logs and sockets.
    pub fn state_dir(&self) -> &Path {
        self.state.dir()
    }

    /// The lab's own bpffs.
    pub fn bpffs(&self) -> PathBuf {
        self.state_dir().join("bpffs")
    }

    /// The cgroup above every process of the lab: what an agent attaches to.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The node itself (host network in Kubernetes' words).
    pub fn node(&self) -> &Place {
        &self.node
    }

    /// The network outside the node: its default gateway, where external clients live.
    pub fn outside(&self) -> &Place {
        &self.outside
    }

    /// Makes a pod; see [`Lab::pods`].
    pub fn pod(&self, name: &str, ip: Ipv4Addr) -> Result<Pod> {
        let mut pods = self.pods([(name, ip)])?;
        pods.pop().ok_or_else(|| Error::Unmet(format!("pod {name} was not made")))
    }

    /// Makes many pods at once, much faster than one by one. Pods reach each other and the node;
    /// each also gets an IPv6 address derived from its IPv4 address.
    pub fn pods<N: AsRef<str>>(
        &self,
        wanted: impl IntoIterator<Item = (N, Ipv4Addr)>,
    ) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for (name, ip) in wanted {
            let name = name.as_ref();
            state::check_name(name)?;
            let cgroup = self.cgroup.join("pods").join(name);
            let place = Place::new(state::netns_name(&self.id, Some(name)), cgroup, self.bond);
            let link = self.links.fetch_add(1, Ordering::Relaxed);
            pods.push(Pod::new(name, ip, place, format!("veth{link}")));
        }
        let _building = state::building();
        for pod in &pods {
            cgroup::create(pod.place().cgroup())?;
        }
        network::build_pods(&self.node, &pods)?;
        Ok(pods)
    }

    /// Kills a pod's processes and takes it off the network.
    pub fn remove_pod(&self, pod: &Pod) -> Result<()> {
        let _building = state::building();
        cgroup::remove(pod.place().cgroup())?;
        network::remove_pod(&self.node, pod)
    }

    /// Leaves the lab up when the caller exits, held by a small process inside it, until
    /// [`sweep_kept`] removes it. For labs of [`Lab::create_lasting`].
    pub fn leave(mut self) -> Result<()> {
        let holder = host::binary("balancer-lab", "BALANCER_LAB_BIN")?;
        fs::write(self.state_dir().join(state::KEPT), "").attempt("mark the lab as kept")?;
        // The lock belongs to the open file, which the holder inherits as its standard input.
        self.node
            .command(holder)
            .arg("hold")
            .stdin(self.state.share_lock()?)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .attempt("start the process that holds the lab")?;
        self.state.disown();
        Ok(())
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

impl Drop for Lab {
    fn drop(&mut self) {
        if self.state.disowned() {
            return;
        }
        let _building = state::building();
        if let Err(error) = sweep::remove(&self.id) {
            // Nobody is left to return it to; the next run's sweep tries again.
            anstream::eprintln!("lab {}: {error}", self.id);
        }
        self.state.disown();
    }
}
