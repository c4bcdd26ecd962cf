//! Which process has which socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::RawFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use balancer_common::charge;

use super::ask::Kernel;
use crate::{
    maps::Recorded,
    node::{
        cgroup,
        holders::{self, Process, Shared},
        networks, processes,
    },
};

/// How long it is remembered who has which socket.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How often at most all processes are looked at: one that has thousands of descriptors takes a few
/// milliseconds.
const EVERYTHING: Duration = Duration::from_secs(10);

/// Which process has which socket. Remembered for a moment, since to look through the descriptors of
/// processes that have many takes longer than their connections rest: who was busy when it was done
/// is not when he is tried again.
pub struct Holders {
    /// Called before each process that is looked at: those that have many descriptors take long.
    alive: Box<dyn Fn()>,
    /// Whose processes are looked at.
    cgroup: Option<PathBuf>,
    since: Instant,
    /// True if all of it was seen for what is being ended now.
    fresh: bool,
    /// Where the sockets are, by inode.
    found: BTreeMap<u32, Place>,
    /// Network namespaces whose processes were all looked at, by cookie.
    searched: BTreeSet<u64>,
    seen: BTreeSet<u32>,
    /// When all processes were looked at last, whatever their network namespace.
    all: Option<Instant>,
}

/// Where a socket is.
#[derive(Clone, Copy, Debug)]
struct Place {
    process: u32,
    /// One that runs.
    thread: u32,
    descriptor: RawFd,
}

impl Holders {
    /// Calls `alive` now and then while it looks at processes.
    pub fn new(alive: impl Fn() + 'static) -> Self {
        Self {
            alive: Box::new(alive),
            cgroup: None,
            since: Instant::now(),
            fresh: true,
            found: BTreeMap::new(),
            searched: BTreeSet::new(),
            seen: BTreeSet::new(),
            all: None,
        }
    }

    /// Sockets of the processes of a cgroup are to be taken: what is remembered may be of before.
    pub fn begin(&mut self, cgroup: Option<PathBuf>) {
        self.cgroup = cgroup;
        self.fresh = false;
        if self.since.elapsed() > REMEMBERED {
            self.forget();
        }
    }

    /// Nothing more is to be ended soon.
    pub fn forget(&mut self) {
        self.since = Instant::now();
        self.fresh = true;
        self.found.clear();
        self.searched.clear();
        self.seen.clear();
    }

    /// Looks through the descriptors of these processes, each once.
    pub fn look_at_all(&mut self, processes: impl Iterator<Item = u32>) {
        for process in processes.collect::<BTreeSet<_>>() {
            self.look_at(process);
        }
    }

    /// Looks through the descriptors of a process.
    pub fn look_at(&mut self, process: u32) {
        if self.seen.insert(process) {
            (self.alive)();
            let thread = processes::thread(process);
            for (inode, descriptor) in holders::sockets(thread) {
                self.found.entry(inode).or_insert(Place { process, thread, descriptor });
            }
        }
    }

    /// A socket by its inode: that of the process that opened it, or of one that it was handed to,
    /// which is looked for among those of its network namespace first, and then among all.
    pub fn take(
        &mut self,
        inode: u32,
        connection: &Recorded,
        kernel: &mut Kernel,
    ) -> io::Result<Option<Shared>> {
        let taken = self.look_for(inode, connection, kernel)?;
        if taken.is_some() || self.fresh {
            return Ok(taken);
        }
        self.forget();
        self.look_at(connection.tgid);
        self.look_for(inode, connection, kernel)
    }

    /// Looks through the descriptors of all processes, now and then: a socket may have been handed to
    /// another network namespace.
    fn look_at_everything(&mut self) {
        if self.all.is_some_and(|at| at.elapsed() < EVERYTHING) {
            return;
        }
        let processes = self.cgroup.as_deref().map(cgroup::processes);
        self.look_at_all(processes.unwrap_or_default().into_iter());
        self.all = Some(Instant::now());
    }

    fn look_for(
        &mut self,
        inode: u32,
        connection: &Recorded,
        kernel: &mut Kernel,
    ) -> io::Result<Option<Shared>> {
        if inode == 0 {
            return Ok(None);
        }
        if !self.found.contains_key(&inode) && self.searched.insert(connection.netns) {
            let network = kernel.inode(connection);
            let cgroup = self.cgroup.as_deref();
            let processes = cgroup.map(|cgroup| networks::processes_in(cgroup, network));
            self.look_at_all(processes.unwrap_or_default().into_iter());
        }
        if !self.found.contains_key(&inode) {
            self.look_at_everything();
        }
        let Some(Place { process, thread, descriptor }) = self.found.get(&inode).copied() else {
            return Ok(None);
        };
        let shared = Process::open(process, thread).and_then(|process| process.socket(descriptor));
        let cookie = charge::cookie_of(connection.word);
        match shared {
            // The process may have closed it and opened something else in its place.
            Ok(shared) if shared.cookie().is_ok_and(|found| found == cookie) => Ok(Some(shared)),
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// True where the process, or its descriptor, is there no more, or can't be referred to by another
/// thread than its main one (before Linux 6.9).
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EBADF | libc::EINVAL))
}
