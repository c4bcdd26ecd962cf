//! Which process has which socket.
//!
//! - [`walk`]: looks through the descriptors of many processes, a piece at a time.

pub mod walk;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use balancer_common::charge;

use self::walk::{Looked, Place, Places, Told, Walk};
use super::ask::Kernel;
use crate::{
    maps::Recorded,
    node::{
        cgroup,
        clock::now,
        holders::{self, Process, Shared},
        processes::Thread,
    },
};

/// How long it is remembered who has which socket.
const REMEMBERED: Duration = Duration::from_secs(1);
/// How long it is remembered where sockets are that were looked for among all processes. To look at
/// all takes a few milliseconds or, where there are many descriptors, seconds.
const EVERYTHING: Duration = Duration::from_secs(10);
/// What may be spent, of one batch, on processes that opened what is to be ended, and on others.
const PIECE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(200));

/// What became of a socket that was asked for.
#[derive(Debug)]
pub enum Taken {
    /// It is shared.
    Socket(Shared),
    /// Not all processes that may have it were looked at: there was no time for it.
    NotNow,
    /// No process has it.
    Nobody,
}

/// Which process has which socket. Remembered for a moment, since to look through the descriptors
/// of processes that have many takes longer than their connections rest: who was busy when it was
/// done is not when he is tried again.
pub struct Holders {
    looking: Looking,
    /// Whose processes are looked at.
    cgroup: Option<PathBuf>,
    since: Instant,
    /// Sockets of processes that have or had some of those that are ended.
    known: Places,
    /// These processes.
    seen: BTreeSet<u32>,
    /// Those of them that were looked at since something is ended.
    fresh: BTreeSet<u32>,
    /// The first of those that there was no time for, if any.
    next: u32,
    /// Network namespaces, by cookie, whose processes are looked at.
    networks: BTreeMap<u64, Walk>,
    /// All processes, whatever their network namespace.
    all: Option<Walk>,
}

/// Looks at processes for as long as there is time.
struct Looking {
    /// Called now and then: processes that have many descriptors take long.
    alive: Box<dyn Fn()>,
    /// True if it was called since somebody asked.
    said: Cell<bool>,
    /// What is left for those that opened what is to be ended, and for others.
    left: (Duration, Duration),
}

impl Holders {
    /// Calls `alive` now and then while it looks at processes.
    pub fn new(alive: impl Fn() + 'static) -> Self {
        Self {
            looking: Looking { alive: Box::new(alive), said: Cell::new(false), left: PIECE },
            cgroup: None,
            since: Instant::now(),
            known: Places::new(),
            seen: BTreeSet::new(),
            fresh: BTreeSet::new(),
            next: 0,
            networks: BTreeMap::new(),
            all: None,
        }
    }

    /// Sockets of the processes of a cgroup are to be taken: what is remembered may be of before.
    pub fn begin(&mut self, cgroup: Option<PathBuf>) {
        self.cgroup = cgroup;
        self.looking.left = PIECE;
        self.fresh.clear();
        // What took one piece is looked at anew: a socket may have been handed on since.
        self.networks.retain(|_, walk| !walk.is_whole() || walk.is_long());
        if self.since.elapsed() > REMEMBERED {
            self.forget();
        }
    }

    /// Nothing more is to be ended soon.
    pub fn forget(&mut self) {
        self.since = Instant::now();
        self.known.clear();
        self.seen.clear();
        self.fresh.clear();
        self.networks.retain(|_, walk| !is_over(walk));
        self.all.take_if(|walk| is_over(walk));
    }

    /// True if it has looked at processes since this was asked last.
    pub fn has_looked(&self) -> bool {
        self.looking.said.take()
    }

    /// Looks through the descriptors of these processes, each once, as far as there is time: the
    /// next time with those first that there was none for.
    pub fn look_at_all(&mut self, processes: impl Iterator<Item = u32>) {
        let all: BTreeSet<u32> = processes.filter(|process| !self.seen.contains(process)).collect();
        let next = std::mem::take(&mut self.next);
        for process in all.range(next..).chain(all.range(..next)) {
            if !self.look_at(*process) {
                self.next = *process;
                return;
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
    ) -> io::Result<Taken> {
        if inode == 0 {
            return Ok(Taken::Nobody);
        }
        let cookie = charge::cookie_of(connection.word);
        // Where it was, as it was seen just now or before; where it is now; and who opened it.
        let held = self.known.get(&inode).map(|place| place.process);
        let (mut had_time, mut unreachable) = (true, false);
        for process in held.into_iter().chain([connection.tgid]) {
            if let Some(place) = self.known.get(&inode)
                && let Some(shared) = take(*place, cookie, &mut unreachable)?
            {
                return Ok(Taken::Socket(shared));
            }
            had_time &= self.look_at(process);
        }
        if let Some(place) = self.known.get(&inode)
            && let Some(shared) = take(*place, cookie, &mut unreachable)?
        {
            return Ok(Taken::Socket(shared));
        }
        let opened = Duration::from_nanos(connection.since_ns);
        let told = match self.look_in_network(inode, opened, connection, kernel) {
            Told::There(place) => Told::There(place),
            Told::Nowhere | Told::NotYet => self.look_everywhere(inode, opened),
        };
        if let Told::There(place) = told {
            if let Some(shared) = take(place, cookie, &mut unreachable)? {
                return Ok(Taken::Socket(shared));
            }
            // Its process may have moved it.
            if self.look_at(place.process)
                && let Some(place) = self.known.get(&inode)
                && let Some(shared) = take(*place, cookie, &mut unreachable)?
            {
                return Ok(Taken::Socket(shared));
            }
        }
        let is_nowhere = told == Told::Nowhere && had_time;
        Ok(if is_nowhere || unreachable { Taken::Nobody } else { Taken::NotNow })
    }

    /// Looks through the descriptors of a process, unless that was just done; false where there is
    /// no time for it.
    fn look_at(&mut self, process: u32) -> bool {
        if self.fresh.contains(&process) {
            return true;
        }
        let looked = self.looking.at(process, None, &mut self.known, |left| &mut left.0);
        if looked == Looked::NoTime {
            return false;
        }
        self.seen.insert(process);
        self.fresh.insert(process)
    }

    /// Looks at the processes of the network namespace of a connection.
    fn look_in_network(
        &mut self,
        inode: u32,
        opened: Duration,
        connection: &Recorded,
        kernel: &mut Kernel,
    ) -> Told {
        let Some(network) = kernel.inode(connection) else { return Told::Nowhere };
        let cgroup = self.cgroup.as_ref();
        let begin = || Walk::new(now(), processes(cgroup));
        let walk = self.networks.entry(connection.netns).or_insert_with(begin);
        if is_over(walk) {
            *walk = begin();
        }
        walk.go_on(now, |process, places| {
            self.looking.at(process, Some(network), places, |left| &mut left.1)
        });
        walk.tell(inode, opened)
    }

    /// Looks at all processes: a socket may have been handed to another network namespace.
    fn look_everywhere(&mut self, inode: u32, opened: Duration) -> Told {
        self.all.take_if(|walk| is_over(walk));
        let begin = || Walk::new(now(), processes(self.cgroup.as_ref()));
        let walk = self.all.get_or_insert_with(begin);
        walk.go_on(now, |process, places| {
            self.looking.at(process, None, places, |left| &mut left.1)
        });
        walk.tell(inode, opened)
    }
}

impl Looking {
    /// Adds the sockets of a process, if it is in the network namespace where one is given. `part` says
    /// of which time.
    fn at(
        &mut self,
        process: u32,
        network: Option<u64>,
        places: &mut Places,
        part: impl Fn(&mut (Duration, Duration)) -> &mut Duration,
    ) -> Looked {
        let left = part(&mut self.left);
        if left.is_zero() {
            return Looked::NoTime;
        }
        let started = Instant::now();
        let alive = || {
            (self.alive)();
            self.said.set(true);
        };
        let thread = Thread::of(process);
        let thread = thread.filter(|found| network.is_none_or(|net| net == found.network));
        let is_all = thread.is_none_or(|thread| {
            holders::sockets(thread.number, alive, |inode, descriptor| {
                places.insert(inode, Place { process, thread: thread.number, descriptor });
            })
        });
        *left = left.saturating_sub(started.elapsed());
        if is_all { Looked::All } else { Looked::Most }
    }
}

/// True for a walk that became whole, or was left off, long ago.
fn is_over(walk: &Walk) -> bool {
    walk.rested(now()) >= EVERYTHING
}

fn processes(cgroup: Option<&PathBuf>) -> Vec<u32> {
    cgroup.map(|cgroup| cgroup::processes(cgroup)).unwrap_or_default()
}

/// The socket that is where one was seen; none where that is another one, or nothing any more, or where
/// the kernel does not let it be reached, which is told.
fn take(place: Place, cookie: u64, unreachable: &mut bool) -> io::Result<Option<Shared>> {
    let process = Process::open(place.process, place.thread);
    match process.and_then(|process| process.socket(place.descriptor)) {
        // The process may have closed it and opened something else in its place.
        Ok(shared) if shared.cookie().is_ok_and(|found| found == cookie) => Ok(Some(shared)),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EBADF)) => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // It can't be referred to by another thread than its main one before Linux 6.9. The number
            // of a process that has ended may be that of a thread now.
            *unreachable |= place.thread != place.process;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
