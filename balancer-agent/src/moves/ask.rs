//! Asks the kernel what connections do, one by one: what [`super::helper`] runs in a process of its
//! own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::PathBuf,
};

use balancer_common::charge;
use serde::{Deserialize, Serialize};

use crate::{
    maps::{ReadMaps, Recorded, convert},
    node::{
        networks,
        processes::Thread,
        sockets::tcp::{Connections, Found, Tuple},
    },
};

/// Most network namespaces of which it is remembered who led there: most pods of a node, and some
/// that are gone.
const MOST: usize = 1_024;

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

/// Asks in the network namespaces of the connections. Lives for one pass: what it has open keeps
/// the namespaces of pods that are gone.
#[derive(Debug)]
pub struct Kernel {
    /// Whose processes lead to network namespaces; none where that is not known.
    cgroup: Option<PathBuf>,
    /// By cookie, each with the inode of its file.
    namespaces: BTreeMap<u64, (u64, Connections)>,
    /// Processes that were looked at.
    seen: BTreeSet<u32>,
    /// Which process led to which namespace, by cookie, earlier too.
    led: Led,
    /// Processes that may lead to others, the likeliest last; none before these are looked for.
    rest: Option<Vec<u32>>,
}

/// Which process led to which network namespace, by cookie.
pub type Led = BTreeMap<u64, u32>;

impl Kernel {
    /// Will ask by way of the processes that opened the connections, of those that led to their
    /// network namespaces before, and of those of a cgroup.
    pub const fn new(cgroup: Option<PathBuf>, led: Led) -> Self {
        Self { cgroup, namespaces: BTreeMap::new(), seen: BTreeSet::new(), led, rest: None }
    }

    /// Which processes have led to network namespaces, for the next pass.
    pub fn led(self) -> Led {
        if self.led.len() > MOST { Led::new() } else { self.led }
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

    /// The sockets of a network namespace, given as its cookie and a process that may be in it; 0
    /// for none.
    pub(super) fn namespace(&mut self, cookie: u64, tgid: u32) -> Option<&mut Connections> {
        let likely = [Some(tgid).filter(|tgid| *tgid != 0), self.led.get(&cookie).copied()];
        let mut likely = likely.into_iter().flatten();
        while !self.namespaces.contains_key(&cookie) {
            let process = likely.next().or_else(|| self.next())?;
            // It may be gone, and another one have its number: the cookie tells.
            self.open(process);
        }
        self.namespaces.get_mut(&cookie).map(|(_, connections)| connections)
    }

    /// Another process that may lead to a network namespace that is not open yet.
    fn next(&mut self) -> Option<u32> {
        let Self { cgroup, namespaces, led, rest, .. } = self;
        let rest = rest.get_or_insert_with(|| {
            let mut all = cgroup.as_deref().map(networks::processes).unwrap_or_default();
            led.retain(|_, process| all.values().any(|first| first == process));
            all.retain(|inode, _| namespaces.values().all(|(open, _)| open != inode));
            let mut rest: Vec<u32> = all.into_values().collect();
            // Those whose namespaces are known lead to others only if they are not what they were.
            rest.sort_by_key(|process| !led.values().any(|known| known == process));
            rest
        });
        rest.pop()
    }

    fn open(&mut self, process: u32) {
        if !self.seen.insert(process) {
            return;
        }
        let opened = Thread::of(process).and_then(|thread| {
            let file = thread.open_network().ok()?;
            let (cookie, connections) = Connections::of(&file).ok()?;
            Some((cookie, (thread.network, connections)))
        });
        if let Some((cookie, _)) = opened {
            self.led.insert(cookie, process);
        }
        self.namespaces.extend(opened);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::node::{cgroup, netns};

    /// Needs root.
    #[test]
    fn only_the_network_namespace_that_is_asked_for_is_opened() {
        let mut other = Command::new("unshare");
        other.args(["--net", "sh", "-c", "echo; exec cat"]).stdin(Stdio::piped());
        let mut other = other.stdout(Stdio::piped()).spawn().unwrap();
        other.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let cgroup = Some(cgroup::root().unwrap());
        let own = netns::own().unwrap();
        let mut kernel = Kernel::new(cgroup.clone(), Led::from([(own, std::process::id())]));
        assert!(kernel.namespace(own, 0).is_some());
        assert_eq!(kernel.namespaces.len(), 1, "it was led to before");
        let mut kernel = Kernel::new(cgroup, Led::from([(own, u32::MAX)]));
        assert!(kernel.namespace(own, 0).is_some(), "who led to it has ended");
        let led = kernel.led();
        assert_ne!(led[&own], u32::MAX);
        // Its input ends, and with it the process.
        drop(other.stdin.take());
        other.wait().unwrap();
    }
}
