//! Tells the agents of other nodes what this one counts, and hears them: the loop around
//! [`crate::peers`], which has neither socket nor clock.

mod counters;
mod shown;

use std::{
    fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::watch::Receiver,
    time::{MissedTickBehavior, interval},
};

use crate::{
    config::{PeersConfig, RunConfig},
    desired::BackendAddr,
    maps::{MapsError, pinned::PinnedMaps, pins::Pins},
    model::{Problem, State},
    peers::{
        exchange::{Draw, Exchange},
        key::Keys,
        membership::{Membership, membership},
        name::{NodeId, ServiceId},
        socket::{BUFFER, PeerSocket},
    },
};
use counters::Counters;

/// How often the counters are looked at: a load each.
const LOOK: Duration = Duration::from_millis(25);
/// How often the file of the keys is looked at.
const KEYS: Duration = Duration::from_secs(5);
/// Datagrams that are taken before anything else is done.
const BURST: usize = 64;

/// What the loop shares with those who ask, and with the loop that follows changes.
pub struct Peers {
    config: PeersConfig,
    node: String,
    me: NodeId,
    started: Instant,
    inner: Mutex<Inner>,
    /// True if the maps may have other rows than were seen.
    rows_differ: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// None as long as there is no key.
    exchange: Option<Exchange>,
    membership: Membership,
    /// What is wrong with the file of the keys.
    key_problem: Option<Problem>,
    /// The file as it was read last.
    key_file: Option<(u64, SystemTime)>,
}

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
        let found = membership(state, &self.config.service, ipv6);
        let mut inner = self.inner();
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

    /// What is wrong with the keys and the Service.
    pub fn problems(&self) -> Vec<Problem> {
        let inner = self.inner();
        inner.key_problem.iter().chain(&inner.membership.problems).cloned().collect()
    }

    /// Connections of all nodes to a backend; none where it was not told.
    pub fn cluster(&self, service: ServiceId, backend: &BackendAddr, own: u32) -> Option<u64> {
        let inner = self.inner();
        inner.exchange.as_ref()?.node().cluster(self.now(), service, backend, own)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the keys again if their file has changed. Bad ones leave those in force that were good.
    fn read_keys(&self) {
        let mut inner = self.inner();
        let Some(file) = &self.config.key else { return };
        let stamp = fs::metadata(file).and_then(|found| Ok((found.len(), found.modified()?))).ok();
        if stamp.is_some() && stamp == inner.key_file {
            return;
        }
        inner.key_file = stamp;
        match Keys::read(file) {
            Ok(keys) => {
                inner.key_problem = None;
                let ids: Vec<_> = inner.membership.members.keys().copied().collect();
                match &mut inner.exchange {
                    Some(exchange) => exchange.set_keys(keys),
                    none => {
                        let draw: Draw = Box::new(rand::random);
                        let exchange = none.insert(Exchange::new(self.me, keys, draw));
                        exchange.set_peers(self.now(), &ids);
                        self.rows_differ.store(true, SeqCst);
                    }
                }
            }
            Err(error) => {
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
}

impl Parts {
    /// Opens the maps for itself.
    pub fn new(
        peers: Arc<Peers>,
        socket: PeerSocket,
        config: &RunConfig,
    ) -> Result<Self, MapsError> {
        let maps = PinnedMaps::open(&Pins::new(&config.bpffs), config.capacities)?;
        Ok(Self { peers, socket, counters: Counters::new(maps) })
    }

    /// Looks at the counters, and says what there is to say.
    fn look(&mut self) {
        let now = self.peers.now();
        let mut inner = self.peers.inner();
        let Inner { exchange: Some(exchange), membership, .. } = &mut *inner else { return };
        if self.counters.may_renew(now) && self.peers.rows_differ.swap(false, SeqCst) {
            match self.counters.renew(now) {
                Ok(rows) => exchange.node_mut().set_rows(now, rows),
                Err(error) => {
                    tracing::warn!("{error}; the peers are told of the rows that were known");
                    self.peers.rows_differ.store(true, SeqCst);
                }
            }
        }
        self.counters.look(now, exchange.node_mut());
        self.counters.write(now, &exchange.node_mut().words(now));
        say(&self.socket, now, exchange, membership);
    }

    /// Takes datagrams, and answers if one was believed.
    fn receive(&self, buffer: &mut [u8]) {
        let now = self.peers.now();
        let mut inner = self.peers.inner();
        let Inner { exchange, membership, .. } = &mut *inner;
        let mut believed = false;
        for _ in 0..BURST {
            let Some(length) = self.socket.receive(buffer) else { break };
            if let Some(exchange) = exchange {
                // Why it was not is counted.
                believed |= exchange.receive(now, &mut buffer[..length]).is_ok();
            }
        }
        if believed && let Some(exchange) = exchange {
            self.counters.write(now, &exchange.node_mut().words(now));
            say(&self.socket, now, exchange, membership);
        }
    }
}

/// Sends what is due. What the kernel refuses is lost like any other datagram: it is said again.
fn say(socket: &PeerSocket, now: Duration, exchange: &mut Exchange, members: &Membership) {
    if exchange.next() > now {
        return;
    }
    for (to, datagram) in exchange.due(now) {
        let Some(member) = members.members.get(&to) else { continue };
        if let Err(error) = socket.send(member.addr, &datagram) {
            tracing::debug!(node = member.node, address = %member.addr, "not sent: {error}");
        }
    }
}

/// Speaks and listens until `stopped` turns true.
pub async fn run(mut parts: Parts, mut stopped: Receiver<bool>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keys = interval(KEYS);
    let mut buffer = [0; BUFFER];
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            _ = keys.tick() => parts.peers.read_keys(),
            _ = looks.tick() => parts.look(),
            result = parts.socket.readable() => {
                if let Err(error) = result {
                    tracing::error!("the socket of the peers is broken: {error}");
                    break;
                }
                // The rest has its turn after what else is due.
                parts.receive(&mut buffer);
            }
        }
    }
}
