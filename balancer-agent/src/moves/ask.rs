//! Asks the kernel what connections do, one by one: what [`super::helper`] runs in a process of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use balancer_common::charge;
use serde::{Deserialize, Serialize};

use crate::{
    maps::{ReadMaps, Recorded, convert},
    node::{
        networks, processes,
        sockets::tcp::{Connections, Found, Tuple},
    },
};

/// The kernel's name of a connection.
pub fn tuple(connection: &Recorded, backend: SocketAddr) -> Tuple {
    let cookie = charge::cookie_of(connection.word);
    Tuple { local: connection.local, remote: backend, cookie }
}

/// The address of a backend; none where it is in use no more.
pub fn address(maps: &impl ReadMaps, backend: u32) -> Option<SocketAddr> {
    convert::backend_addr(&maps.backend(backend)).map(|found| found.addr())
}

/// What is known of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What it does.
    Found(Found),
    /// It is closed, or closes.
    Gone,
    /// Nobody can be asked: no process is left in its network namespace.
    Unreachable,
    /// It can't be asked about.
    Failed(String),
    /// Its socket is held: who asks does not come back.
    Stuck,
    /// It is not asked about for a while, because a socket of its pod was held.
    LeftAlone,
    /// There was no time for it.
    Later,
}

/// Asks in the network namespaces of the connections. Lives for one pass: what it has open keeps the
/// namespaces of pods that are gone.
#[derive(Debug)]
pub struct Kernel {
    /// Whose processes lead to network namespaces; none where that is not known.
    cgroup: Option<PathBuf>,
    /// By cookie, each with the inode of its file.
    namespaces: BTreeMap<u64, (u64, Connections)>,
    /// Processes that were looked at.
    seen: BTreeSet<u32>,
    searched: bool,
}

impl Kernel {
    /// Will ask by way of the processes that opened the connections, and of those of a cgroup.
    pub const fn new(cgroup: Option<PathBuf>) -> Self {
        Self { cgroup, namespaces: BTreeMap::new(), seen: BTreeSet::new(), searched: false }
    }

    /// The inode of a connection's network namespace.
    pub fn inode(&mut self, connection: &Recorded) -> Option<u64> {
        self.namespace(connection.netns, connection.tgid)?;
        self.namespaces.get(&connection.netns).map(|(inode, _)| *inode)
    }

    /// Asks about a connection to a backend.
    pub fn ask(&mut self, connection: &Recorded, backend: SocketAddr) -> io::Result<Answer> {
        let Some(namespace) = self.namespace(connection.netns, connection.tgid) else {
            return Ok(Answer::Unreachable);
        };
        let found = namespace.ask(&tuple(connection, backend))?;
        Ok(found.map_or(Answer::Gone, Answer::Found))
    }

    /// Resets a connection to a backend; false if it was gone.
    pub fn reset(&mut self, connection: &Recorded, backend: SocketAddr) -> io::Result<bool> {
        let Some(namespace) = self.namespace(connection.netns, connection.tgid) else {
            return Ok(false);
        };
        namespace.reset(&tuple(connection, backend))
    }

    /// The sockets of a network namespace, given as its cookie and a process that may be in it; 0 for
    /// none.
    pub(super) fn namespace(&mut self, cookie: u64, tgid: u32) -> Option<&mut Connections> {
        if tgid != 0 && !self.namespaces.contains_key(&cookie) && self.seen.insert(tgid) {
            // Its process may be gone, and another one have its number: the cookie tells.
            self.open(File::open(processes::network(tgid)));
        }
        if !self.namespaces.contains_key(&cookie) && !self.searched {
            self.searched = true;
            let networks = self.cgroup.as_deref().map(networks::networks).unwrap_or_default();
            for file in networks.into_values() {
                self.open(Ok(file));
            }
        }
        self.namespaces.get_mut(&cookie).map(|(_, connections)| connections)
    }

    fn open(&mut self, namespace: io::Result<File>) {
        let opened = namespace.and_then(|file| {
            let inode = file.metadata()?.ino();
            let (cookie, connections) = Connections::of(&file)?;
            Ok((cookie, (inode, connections)))
        });
        self.namespaces.extend(opened);
    }
}
