//! What the pins alone can tell, with or without an agent.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::{Snapshot, connections::connections, views};
use crate::{
    kernel::{
        link::{self, PROGRAMS},
        pins::Pins,
    },
    maps::{MapsError, pinned::PinnedMaps},
    moves::helper::{Helper, watch::Watch},
    node::cgroup,
    view::{ConnectionView, ProgramView, ServiceView, StatusView, Wanted},
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
}

impl Offline {
    /// Opens what is pinned under `bpffs`.
    pub fn open(bpffs: &Path) -> Result<Self, ObserveError> {
        let pins = Pins::new(bpffs);
        match fs::metadata(pins.map("ACTIVE")) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ObserveError::NothingPinned { bpffs: bpffs.into() });
            }
            Err(source) => return Err(ObserveError::Unreadable { bpffs: bpffs.into(), source }),
        }
        let maps = PinnedMaps::open(&pins, crate::config::Capacities::MAX)?;
        Ok(Self { bpffs: bpffs.into(), pins, maps })
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
        let helper = Helper::new(cgroup, Arc::new(Watch::new()));
        Ok(connections(&self.maps, &helper, &BTreeMap::new(), wanted)?)
    }

    /// Programs, attachment and use of the maps.
    pub fn status(&self) -> Result<StatusView, ObserveError> {
        Ok(status(&self.bpffs, &self.pins, &self.snapshot()?))
    }
}

/// The status of the kernel; the agent adds itself to it.
pub fn status(bpffs: &Path, pins: &Pins, snapshot: &Snapshot) -> StatusView {
    let mut programs = Vec::new();
    let mut cgroup = None;
    for name in PROGRAMS {
        // A link to a cgroup that was removed is attached to nothing.
        let attached = link::read(pins, name).ok().flatten().filter(|link| link.cgroup != 0);
        cgroup = cgroup.or(attached.map(|attached| attached.cgroup));
        programs.push(ProgramView {
            name: name.to_owned(),
            id: attached.map(|attached| attached.program),
            tag: attached.and_then(|attached| link::tag(attached.program).ok()),
        });
    }
    StatusView {
        agent: None,
        cgroup: cgroup.and_then(cgroup_path).map(|path| path.display().to_string()),
        bpffs: bpffs.display().to_string(),
        balancing: None,
        programs,
        capacity: snapshot.capacity.clone(),
        connections: snapshot.connections,
        counts: None,
        verdicts: views::verdicts(snapshot),
        pods: Vec::new(),
        problems: Vec::new(),
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
