//! What the pins alone can tell, with or without an agent.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use thiserror::Error;

use super::{Snapshot, clients::clients, connections::connections, explain::explain, views};
use crate::{
    kernel::{
        link::{self, PROGRAMS},
        outside,
    },
    maps::{MapsError, pinned::PinnedMaps, pins::Pins},
    model::Problem,
    moves::helper::{Helper, watch::Watch},
    node::{
        cgroup, devices,
        kubeproxy::{self, KubeProxy},
    },
    view::{
        ClientView, ClientsQuestion, ConnectionView, ExplainQuestion, ExplainView, ProgramView,
        ServiceView, StatusView, Wanted,
    },
};

/// Why the pins can't be read.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// Nothing is pinned there.
    #[error(
        "nothing is balanced here: no maps are pinned under {}; start the agent, or name its \
         folder with --bpffs",
        bpffs.display()
    )]
    NothingPinned {
        /// The folder.
        bpffs: PathBuf,
    },
    /// The pins are there and can't be opened.
    #[error("the maps pinned under {} can't be read: {source}; this needs root", bpffs.display())]
    Unreadable {
        /// The folder.
        bpffs: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A map can't be read.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

/// The pinned maps and links.
pub struct Offline {
    bpffs: PathBuf,
    pins: Pins,
    maps: PinnedMaps,
    /// Inode of a pin: with other maps there is another one.
    inode: u64,
    /// Asks about connections, from the first time on: whoever looks again and again has one process
    /// for that, not one for each look.
    helper: OnceLock<Helper>,
}

impl Offline {
    /// Opens what is pinned under `bpffs`.
    pub fn open(bpffs: &Path) -> Result<Self, ObserveError> {
        let pins = Pins::new(bpffs);
        let inode = match fs::metadata(pins.map("ACTIVE")) {
            Ok(found) => found.ino(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ObserveError::NothingPinned { bpffs: bpffs.into() });
            }
            Err(source) => return Err(ObserveError::Unreadable { bpffs: bpffs.into(), source }),
        };
        let maps = PinnedMaps::open(&pins, crate::config::Capacities::MAX)?;
        Ok(Self { bpffs: bpffs.into(), pins, maps, inode, helper: OnceLock::new() })
    }

    /// False where other maps are pinned by now, or none.
    pub fn is_current(&self) -> bool {
        fs::metadata(self.pins.map("ACTIVE")).is_ok_and(|found| found.ino() == self.inode)
    }

    /// A snapshot of the maps.
    pub fn snapshot(&self) -> Result<Snapshot, ObserveError> {
        Ok(Snapshot::read(&self.maps)?)
    }

    /// Every Service port, without what only an agent knows.
    pub fn services(&self) -> Result<Vec<ServiceView>, ObserveError> {
        Ok(views::services(&self.snapshot()?, None))
    }

    /// The TCP connections that are wanted, without their pods. Pods are not known, so that none is
    /// of one that is wanted.
    pub fn connections(&self, wanted: &Wanted) -> Result<Vec<ConnectionView>, ObserveError> {
        let cgroup = self.status()?.cgroup.map(PathBuf::from);
        let helper = self.helper.get_or_init(|| Helper::new(cgroup, Arc::new(Watch::new())));
        Ok(connections(&self.maps, helper, &BTreeMap::new(), &HashMap::new(), wanted)?)
    }

    /// Who has connections. Pods are not known: each address is a client.
    pub fn clients(&self, question: &ClientsQuestion) -> Result<Vec<ClientView>, ObserveError> {
        Ok(clients(&self.maps, &BTreeMap::new(), question)?)
    }

    /// What a `connect()` would get. Pods are not known, so that any client is taken.
    pub fn explain(&self, question: &ExplainQuestion) -> Result<ExplainView, ObserveError> {
        let mut view = explain(&self.maps, &self.services()?, None, question, otherwise)?;
        if let Some(pod) = &question.pod {
            view.notes.push(format!(
                "without an agent pods are not known: this holds for any client, and not for pod \
                 {pod} if it is opted out"
            ));
        }
        view.notes.extend(unattached(&self.pins, view.address));
        Ok(view)
    }

    /// Programs, attachment and use of the maps.
    pub fn status(&self) -> Result<StatusView, ObserveError> {
        Ok(status(&self.bpffs, &self.pins, Some(&self.snapshot()?)))
    }
}

/// Who answers on this node where balancer leaves a connection untouched.
pub fn otherwise() -> String {
    match kubeproxy::probe() {
        KubeProxy::Mode(mode) => format!("kube-proxy ({mode}), else the network"),
        KubeProxy::IpvsLeftovers => {
            "rules of kube-proxy (ipvs), which does not run, else the network".to_owned()
        }
        KubeProxy::NotSeen => "the network: no kube-proxy was seen on this node".to_owned(),
    }
}

/// What is to be said where no program is attached that would see an address dialled.
pub fn unattached(pins: &Pins, address: IpAddr) -> Option<String> {
    let hook = if address.is_ipv4() { "connect4" } else { "connect6" };
    let attached = link::read(pins, hook).ok()?.is_some_and(|link| link.cgroup != 0);
    (!attached).then(|| {
        format!("program {hook} is not attached: connections are not balanced until an agent runs")
    })
}

/// The status of the kernel; the agent adds itself to it. Without a snapshot the maps can't be read.
pub fn status(bpffs: &Path, pins: &Pins, snapshot: Option<&Snapshot>) -> StatusView {
    let mut programs = Vec::new();
    let mut problems = Vec::new();
    let mut cgroup = None;
    for name in PROGRAMS {
        let found = link::read(pins, name);
        let unreadable = found.as_ref().err().map(|error| {
            let path = pins.link(name);
            format!("its link {} can't be read: {error}; this needs root", path.display())
        });
        // A link to a cgroup that was removed is attached to nothing.
        let attached = found.ok().flatten().filter(|link| link.cgroup != 0);
        cgroup = cgroup.or(attached.map(|attached| attached.cgroup));
        problems.extend(unreadable.iter().map(|message| Problem {
            object: format!("program {name}"),
            field: String::new(),
            message: message.clone(),
        }));
        programs.push(ProgramView {
            name: name.to_owned(),
            id: attached.map(|attached| attached.program),
            tag: attached.and_then(|attached| link::tag(attached.program).ok()),
            unreadable,
        });
    }
    StatusView {
        agent: None,
        cgroup: cgroup.and_then(cgroup_path).map(|path| path.display().to_string()),
        bpffs: bpffs.display().to_string(),
        balancing: None,
        programs,
        capacity: snapshot.map(|snapshot| snapshot.capacity.clone()).unwrap_or_default(),
        connections: snapshot.map(|snapshot| snapshot.connections),
        counts: None,
        outside: {
            let devices = outside::devices(pins).unwrap_or_default().into_iter();
            devices.filter_map(devices::name).collect()
        },
        verdicts: snapshot.map(views::verdicts).unwrap_or_default(),
        pods: Vec::new(),
        refused: Vec::new(),
        problems,
        events: None,
    }
}

/// The path of a cgroup by its identifier, the inode of its directory. Breadth first, since the
/// cgroup is nearly always the root.
fn cgroup_path(id: u64) -> Option<PathBuf> {
    let mut queue = VecDeque::from([cgroup::root().ok()?]);
    while let Some(path) = queue.pop_front() {
        if fs::metadata(&path).is_ok_and(|found| found.ino() == id) {
            return Some(path);
        }
        let children = fs::read_dir(&path).into_iter().flatten().flatten();
        queue.extend(
            children
                .filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|child| child.path()),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_can_not_be_read_is_not_taken_for_one_that_is_not_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pins = Pins::new(folder.path());
        // No object of BPF: opening it fails otherwise than where nothing is.
        let link = pins.link("connect4");
        fs::create_dir_all(link.parent().expect("a folder")).expect("made");
        fs::write(&link, "").expect("written");
        let status = status(folder.path(), &pins, None);
        let connect4 = status.programs.iter().find(|program| program.name == "connect4");
        let why = connect4.and_then(|program| program.unreadable.as_deref()).expect("a reason");
        assert!(why.contains(&link.display().to_string()), "{why}");
        let problem = status.problems.iter().find(|p| p.object == "program connect4");
        assert_eq!(problem.map(|problem| problem.message.as_str()), Some(why));
        assert_eq!((status.connections, status.is_whole()), (None, false));
    }
}
