//! Tells the agents of other nodes what this one counts, and hears them: the loop around
//! [`crate::peers`], which has neither socket nor clock.

mod counters;
pub(super) mod drains;
mod permits;
mod shown;
mod silent;
mod surveys;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch::Receiver},
    time::{self, MissedTickBehavior, interval, sleep_until},
};

use super::problem_log::ProblemLog;
use crate::{
    config::{PeersConfig, RunConfig},
    maps::{MapsError, pinned::PinnedMaps, pins::Pins},
    model::{Problem, State},
    moves::corrections::Corrections,
    peers::{
        exchange::{Draw, Exchange},
        key::Keys,
        membership::{Basis, Membership, membership},
        name::NodeId,
        own::ServiceRows,
        pace,
        socket::{Batch, PeerSocket},
    },
};
use counters::{Counted, Counters, Looked};

/// How often the file of the keys is looked at.
const KEYS: Duration = Duration::from_secs(5);
/// Datagrams that are taken before anything else is done.
const BURST: usize = 128;
/// How long nothing is received where most of that was not believed. What the kernel keeps
/// meanwhile is taken at once: each time the agent wakes costs more than a datagram, and no flood
/// costs more than so many of them.
const REST: Duration = Duration::from_millis(5);

/// What the loop shares with those who ask, and with the loop that follows changes.
pub struct Peers {
    config: PeersConfig,
    node: String,
    me: NodeId,
    started: Instant,
    inner: Mutex<Inner>,
    /// True if the maps may have other rows than were seen.
    rows_differ: AtomicBool,
    /// Wakes who waits for permits.
    permitted: Notify,
    /// Wakes who speaks: there is something to say at once.
    asked: Notify,
    /// Who asks a steward what would move, one at a time, and waits for the answer.
    surveying: Mutex<()>,
    surveyed: Condvar,
    /// Wakes who drains what is drained on all nodes.
    drains: Notify,
}

#[derive(Default)]
struct Inner {
    /// None as long as there is no key.
    exchange: Option<Exchange>,
    membership: Membership,
    /// What that follows from.
    basis: Option<Basis>,
    /// What is wrong with the file of the keys.
    key_problem: Option<Problem>,
    /// The file of the keys as it was when they were read.
    key_file: Option<Stamp>,
}

/// What tells two states of a file apart: device, inode, and the time of the last change of its
/// bytes or of its mode (ctime of inode(7)), in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl Peers {
    /// Where the configuration names the Service of the agents.
    pub fn new(config: &RunConfig) -> Option<Self> {
        let peers = Self {
            config: config.peers.clone()?,
            node: config.node_name.clone(),
            me: NodeId::of(&config.node_name),
            started: Instant::now(),
            inner: Mutex::default(),
            rows_differ: AtomicBool::new(true),
            permitted: Notify::new(),
            asked: Notify::new(),
            surveying: Mutex::default(),
            surveyed: Condvar::new(),
            drains: Notify::new(),
        };
        peers.read_keys();
        Some(peers)
    }

    /// The rows of the maps may be others.
    pub fn changed(&self) {
        self.rows_differ.store(true, SeqCst);
    }

    /// Takes who the peers are.
    pub fn learn(&self, state: &State, ipv6: bool) {
        let service = &self.config.service;
        let mut inner = self.inner();
        // Most states differ in something else.
        if inner.basis.as_ref().is_some_and(|basis| basis.is_of(state, service)) {
            return;
        }
        inner.basis = Some(Basis::new(state, service));
        let found = membership(state, service, ipv6);
        if found == inner.membership {
            return;
        }
        tracing::info!(peers = found.members.len(), "the agents of the cluster");
        let ids: Vec<_> = found.members.keys().copied().collect();
        inner.membership = found;
        if let Some(exchange) = &mut inner.exchange {
            exchange.set_peers(self.now(), &ids);
        }
    }

    /// What is wrong with the keys, the Service, and the way to the peers.
    pub fn problems(&self) -> Vec<Problem> {
        let (inner, now) = (self.inner(), self.now());
        let shown = inner.exchange.as_ref().map(|exchange| exchange.shown(now)).unwrap_or_default();
        let silent = silent::problems(&self.config.service, &inner.membership, &shown);
        inner.key_problem.iter().chain(&inner.membership.problems).cloned().chain(silent).collect()
    }

    /// Wakes who drains what is drained on all nodes, where that is something else now.
    fn tell_drains(&self, inner: &mut Inner) {
        if inner.exchange.as_mut().is_some_and(|all| all.node_mut().has_other_drains()) {
            self.drains.notify_one();
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the keys again if their file has changed. Bad ones leave those in force that were
    /// good.
    fn read_keys(&self) {
        let Some(file) = &self.config.key else { return };
        let stamp = fs::metadata(file).ok();
        let stamp =
            stamp.map(|found| (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()));
        if stamp.is_some() && stamp == self.inner().key_file {
            return;
        }
        // A folder that does not answer holds up nobody who waits for the lock.
        let keys = Keys::read(file);
        let mut inner = self.inner();
        match keys {
            Ok(keys) => {
                inner.key_problem = None;
                inner.key_file = stamp;
                let ids: Vec<_> = inner.membership.members.keys().copied().collect();
                match &mut inner.exchange {
                    Some(exchange) => exchange.set_keys(keys),
                    none => {
                        let draw: Draw = Box::new(rand::random);
                        let exchange = none.insert(Exchange::new(self.me, keys, draw));
                        exchange.set_peers(self.now(), &ids);
                    }
                }
            }
            Err(error) => {
                // It may not have been readable for a moment, without a change of it.
                inner.key_file = None;
                let stays = match inner.exchange {
                    Some(_) => "; the keys that were read before stay in force",
                    None => "; this node counts alone",
                };
                inner.key_problem = Some(Problem {
                    object: format!("peer key {}", file.display()),
                    field: String::new(),
                    message: format!("{error}{stays}"),
                });
            }
        }
    }
}

/// What the loop needs.
pub struct Parts {
    peers: Arc<Peers>,
    socket: PeerSocket,
    counters: Counters<PinnedMaps>,
    problem_log: ProblemLog,
}

impl Parts {
    /// Opens the maps for itself.
    pub fn new(
        peers: Arc<Peers>,
        socket: PeerSocket,
        corrections: Arc<Corrections>,
        config: &RunConfig,
    ) -> Result<Self, MapsError> {
        let maps = PinnedMaps::open(&Pins::new(&config.bpffs), config.capacities)?;
        let (counters, problem_log) = (Counters::new(maps, corrections), ProblemLog::default());
        Ok(Self { peers, socket, counters, problem_log })
    }

    /// Looks at the counters, and says what there is to say. What is read from the maps holds
    /// nobody up.
    fn look(&mut self) {
        let now = self.peers.now();
        if self.peers.inner().exchange.is_none() {
            return;
        }
        let rows = self.renew(now);
        let Looked { counted, settled } = self.counters.look();
        let mut inner = self.peers.inner();
        let Some(exchange) = &mut inner.exchange else { return };
        let node = exchange.node_mut();
        node.change_rows(now, rows);
        for Counted { backend, active, opened } in counted {
            node.observe(now, backend, active, opened);
        }
        if self.counters.are_known() {
            node.counted();
        }
        for (service, (number, refused)) in settled {
            node.settle(now, service, number, refused);
        }
        self.counters.write(now, &node.words(now));
        let due = inner.due(now);
        self.peers.tell_drains(&mut inner);
        drop(inner);
        send(&self.socket, due);
    }

    /// The rows that have changed.
    fn renew(&mut self, now: Duration) -> ServiceRows {
        if !self.counters.may_renew(now) || !self.peers.rows_differ.swap(false, SeqCst) {
            return ServiceRows::new();
        }
        let failed_before = self.counters.has_failed();
        match self.counters.renew(now) {
            Ok(rows) => {
                if failed_before {
                    tracing::info!("the rows can be read again");
                }
                rows
            }
            Err(error) => {
                if !failed_before {
                    tracing::warn!("{error}; the peers are told of the rows that were known");
                }
                self.peers.rows_differ.store(true, SeqCst);
                ServiceRows::new()
            }
        }
    }

    /// Looks at the keys, and logs what is wrong.
    fn look_around(&mut self) {
        self.peers.read_keys();
        self.problem_log.tell(&self.peers.problems());
    }

    /// Takes datagrams, and answers if one was believed. Who asks what is known waits for none of
    /// the calls that this takes.
    fn receive(&self, batch: &mut Batch) -> Burst {
        let now = self.peers.now();
        let mut burst = Burst::default();
        loop {
            self.socket.receive(batch);
            let mut inner = self.peers.inner();
            for bytes in batch.datagrams() {
                // Why it is not believed is counted.
                let result = inner.exchange.as_mut().map(|all| all.receive(now, bytes));
                burst.add(matches!(result, Some(Ok(()))));
            }
            drop(inner);
            if !batch.is_full() || burst.is_over() {
                break;
            }
        }
        if burst.believed > 0 {
            let mut inner = self.peers.inner();
            if let Some(exchange) = &mut inner.exchange {
                if exchange.node().is_permitted() {
                    self.peers.permitted.notify_one();
                }
                if exchange.node().is_surveying() {
                    self.peers.surveyed.notify_all();
                }
                self.counters.write(now, &exchange.node_mut().words(now));
            }
            let due = inner.due(now);
            self.peers.tell_drains(&mut inner);
            drop(inner);
            send(&self.socket, due);
        }
        burst
    }
}

/// What became of datagrams that were taken one after another.
#[derive(Clone, Copy, Debug, Default)]
struct Burst {
    believed: usize,
    refused: usize,
}

impl Burst {
    const fn add(&mut self, is_believed: bool) {
        if is_believed {
            self.believed += 1;
        } else {
            self.refused += 1;
        }
    }

    /// True where something else has its turn.
    const fn is_over(self) -> bool {
        self.believed + self.refused >= BURST
    }

    /// True where most had no effect: some that have do not make a flood cost more.
    const fn is_flood(self) -> bool {
        self.refused > self.believed
    }
}

impl Inner {
    /// Datagrams that are due, and where they go.
    fn due(&mut self, now: Duration) -> Vec<(SocketAddr, Vec<u8>)> {
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.next() <= now)
        else {
            return Vec::new();
        };
        let members = &self.membership.members;
        let due = exchange.due(now).into_iter();
        due.filter_map(|(to, datagram)| Some((members.get(&to)?.addr, datagram))).collect()
    }
}

/// Sends datagrams. What the kernel refuses is lost like any other datagram: it is said again.
fn send(socket: &PeerSocket, datagrams: Vec<(SocketAddr, Vec<u8>)>) {
    for (address, datagram) in datagrams {
        if let Err(error) = socket.send(address, &datagram) {
            tracing::debug!(%address, "not sent: {error}");
        }
    }
}

/// Speaks and listens until `stopped` turns true.
pub async fn run(mut parts: Parts, mut stopped: Receiver<bool>) {
    let mut looks = interval(pace::LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keys = interval(KEYS);
    let mut batch = Batch::default();
    let mut rests_until = None;
    let asked = Arc::clone(&parts.peers);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            _ = keys.tick() => parts.look_around(),
            _ = looks.tick() => parts.look(),
            () = asked.asked.notified() => parts.look(),
            () = sleep_until(rests_until.unwrap_or_else(time::Instant::now)),
                if rests_until.is_some() => rests_until = None,
            result = parts.socket.readable(), if rests_until.is_none() => {
                if let Err(error) = result {
                    tracing::error!("the socket of the peers is broken: {error}");
                    break;
                }
                // The rest has its turn after what else is due.
                if parts.receive(&mut batch).is_flood() {
                    rests_until = Some(time::Instant::now() + REST);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_among_a_flood_does_not_end_the_rests() {
        for (believed, refused, want) in [(0, 0, false), (1, 127, true), (64, 64, false)] {
            assert_eq!(Burst { believed, refused }.is_flood(), want, "{believed} {refused}");
        }
    }
}
