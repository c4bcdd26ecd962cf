//! A node: the counters of its programs, and its agent, if that runs.

use std::{path::Path, sync::Arc, time::Duration};

use balancer_agent::{
    maps::{KeepSeats as _, Limits, in_memory::InMemoryMaps},
    peers::{exchange::Exchange, key::Keys, name::NodeId},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    mover::{Connection, Ended, Link, Mover, Node},
    truth::{
        BACKENDS, Counters, EVERYBODY, NODES, SERVICES, Shape, addr, backend, identifier, node,
        rows, service, whole,
    },
};

const LIMITS: Limits = Limits { services: 8, frontends: 8, backends: 16, slots: 64 };
const FIRST: &str = "3Zt1mXo2v0bqv5rM8nQ5kq0yQvB2m0x3o1S9c7wTgkE=";
const SECOND: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const NOBODYS: &str = "nQ5kq0yQvB2m0x3o1S9c7wTgkE=3Zt1mXo2v0bqv5rM8";

/// Time between two passes of the mover at least, where something was permitted.
const SOON: Duration = Duration::from_millis(100);
/// At every which look it is computed what follows for rows where nothing is new: as often as levels are written.
const WORDS: u32 = 4;
/// Time between two passes.
const PASS: Duration = Duration::from_secs(1);

/// A node.
pub(crate) struct Host {
    index: usize,
    pub(crate) counters: Counters,
    /// The most connections that it ever had to each backend.
    pub(crate) most: [u32; BACKENDS],
    agent: Option<Agent>,
    is_frozen: bool,
    /// What arrived while nobody received.
    queue: Vec<Vec<u8>>,
    peers: u8,
    shape: Shape,
    keys: usize,
    /// What is in the kernel beside the counters: seats, and each connection where these move.
    maps: InMemoryMaps,
    connections: Vec<Connection>,
    moves: bool,
    /// True where the agent has not seen yet that connections are to be moved.
    is_off: bool,
}

struct Agent {
    link: Arc<Link>,
    mover: Mover,
    passed: Duration,
    looks: u32,
    /// What its clock says when the simulated time is 0, which may be before it was started.
    ahead: Duration,
    started: Duration,
    seen: [Option<(u32, u64)>; BACKENDS],
}

/// What an agent says and does.
#[derive(Default)]
pub(crate) struct Said {
    /// Datagrams that it sends, and to whom.
    pub(crate) datagrams: Vec<(NodeId, Vec<u8>)>,
    /// Backends, and the connections of all other nodes to them that it writes to its maps.
    pub(crate) others: Vec<(usize, u32)>,
}

impl Host {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            counters: Counters::default(),
            agent: None,
            is_frozen: false,
            queue: Vec::new(),
            peers: EVERYBODY,
            most: [0; BACKENDS],
            shape: whole(),
            keys: 0,
            maps: InMemoryMaps::new(LIMITS),
            connections: Vec::new(),
            moves: false,
            is_off: false,
        }
    }

    /// Its connections move.
    pub(crate) fn set_moves(&mut self) {
        self.moves = true;
    }

    pub(crate) fn set_off(&mut self, is_off: bool) {
        self.is_off = is_off;
    }

    /// The agent starts, if it does not run.
    pub(crate) fn start(&mut self, now: Duration, rng: &mut StdRng) {
        if self.agent.is_some() {
            return;
        }
        let mut draws = StdRng::seed_from_u64(rng.random());
        let draw = Box::new(move || draws.random());
        let exchange = Exchange::new(node(self.index), keys(self.keys), draw);
        self.queue.clear();
        let link = Arc::new(Link::new(exchange));
        let mover = Mover::new(&link, &self.maps);
        let passed = Duration::from_millis(rng.random_range(0..1_000));
        self.agent = Some(Agent {
            link,
            mover,
            passed,
            looks: 0,
            ahead: Duration::ZERO,
            started: now,
            seen: [None; BACKENDS],
        });
        self.set_peers(now, self.peers);
        self.set_rows(now, self.shape);
    }

    pub(crate) fn end(&mut self) {
        self.agent = None;
    }

    /// All that the node had is gone with it.
    pub(crate) fn wipe(&mut self) {
        self.end();
        self.counters = Counters::default();
        self.connections.clear();
        self.maps.forget_all_seats();
    }

    pub(crate) fn set_frozen(&mut self, is_frozen: bool) {
        self.is_frozen = is_frozen;
    }

    pub(crate) fn jump(&mut self, by: Duration) {
        if let Some(agent) = &mut self.agent {
            agent.ahead += by;
        }
    }

    pub(crate) fn set_peers(&mut self, now: Duration, peers: u8) {
        self.peers = peers;
        if let Some(agent) = &mut self.agent {
            let peers: Vec<_> =
                (0..NODES).filter(|index| peers & (1 << index) != 0).map(node).collect();
            let clock = agent.clock(now);
            agent.link.at(clock).exchange.set_peers(clock, &peers);
        }
    }

    pub(crate) fn set_rows(&mut self, now: Duration, shape: Shape) {
        self.shape = shape;
        if let Some(agent) = &mut self.agent {
            let clock = agent.clock(now);
            agent.link.at(clock).exchange.node_mut().set_rows(clock, rows(self.index, shape));
            agent.seen = [None; BACKENDS];
        }
    }

    pub(crate) fn set_keys(&mut self, keys_index: usize) {
        self.keys = keys_index;
        if let Some(agent) = &mut self.agent {
            agent.link.lock().exchange.set_keys(keys(keys_index));
        }
    }

    /// The agent looks at the counters, as each 25 ms.
    pub(crate) fn look(&mut self, now: Duration) -> Said {
        let Some(agent) = self.agent.as_mut().filter(|_| !self.is_frozen) else {
            return Said::default();
        };
        let clock = agent.clock(now);
        let corrected = agent.mover.corrections.look(&self.maps);
        agent.looks = agent.looks.wrapping_add(1);
        let mut is_new = !(self.queue.is_empty() && corrected.settled.is_empty());
        let mut inner = agent.link.at(clock);
        let exchange = &mut inner.exchange;
        for (backend, (active, opened)) in self.counters.into_iter().enumerate() {
            let id = identifier(self.index, backend);
            let by = corrected.by.get(&id).copied().unwrap_or_default();
            let active = u32::try_from(i64::from(active) + by).expect("no count is below 0");
            self.most[backend] = self.most[backend].max(active);
            if agent.seen[backend].replace((active, opened)) != Some((active, opened)) {
                exchange.node_mut().observe(clock, id, active, opened);
                is_new = true;
            }
        }
        exchange.node_mut().counted();
        for (service, (number, refused)) in corrected.settled {
            exchange.node_mut().settle(clock, service, number, refused);
        }
        for mut datagram in std::mem::take(&mut self.queue) {
            // Why it is not believed is counted.
            let _ = exchange.receive(clock, &mut datagram);
        }
        // What follows from time alone may wait for a few looks.
        if !is_new && exchange.next() > clock && !agent.looks.is_multiple_of(WORDS) {
            return Said::default();
        }
        drop(inner);
        agent.speak(self.index, clock)
    }

    /// A pass of the mover, if it is time for one. Gives what it has ended.
    pub(crate) fn pass(&mut self, now: Duration, rng: &mut StdRng) -> Result<Vec<Ended>, String> {
        let Some(agent) = self.agent.as_mut().filter(|_| self.moves && !self.is_frozen) else {
            return Ok(Vec::new());
        };
        let clock = agent.clock(now);
        let pause = if agent.mover.is_permitted() { SOON } else { PASS };
        if agent.passed + pause > clock {
            return Ok(Vec::new());
        }
        agent.passed = clock;
        let node = Node {
            index: self.index,
            maps: &self.maps,
            shape: self.shape,
            opened: self.counters.map(|(_, opened)| opened),
            is_off: self.is_off,
            ahead: agent.ahead,
            started: agent.started,
        };
        let ended = agent.mover.pass(clock, &node, &mut self.connections, rng)?;
        for found in &ended {
            self.counters[found.connection.backend].0 -= 1;
        }
        Ok(ended)
    }

    /// A client dials a Service: it gets a seat, or where this node sees the fewest. False where the Service
    /// has no backend here.
    pub(crate) fn dial(&mut self, now: Duration, client: u32, of: usize, rng: &mut StdRng) -> bool {
        let row = 1 + of as u32;
        let usable = |at: &usize| self.shape[of] & (1 << at) != 0;
        let mut seats = self.maps.seats(row).into_keys().map(|id| (id, backend(self.index, id)));
        let seat = seats.find(|(_, at)| usable(at));
        let chosen = match seat {
            Some((id, at)) => {
                self.maps.take_back_seats(row, id, 1);
                Some(at)
            }
            None => {
                let others = self.agent.as_ref().and_then(|agent| {
                    let inner = agent.link.lock();
                    inner.exchange.node().others_of(agent.clock(now), row)
                });
                let others = others.unwrap_or_default();
                let seen = |at: &usize| {
                    let others = others.get(&identifier(self.index, *at)).copied();
                    (self.counters[*at].0 + others.unwrap_or_default(), rng.random::<u32>())
                };
                (0..BACKENDS).filter(usable).min_by_key(seen)
            }
        };
        if let Some(backend) = chosen {
            self.connects(now, client, of, backend);
        }
        chosen.is_some()
    }

    /// A client has a connection to a backend from now on.
    pub(crate) fn connects(&mut self, now: Duration, client: u32, service: usize, backend: usize) {
        self.opens(backend);
        self.connections.push(Connection { client, service, backend, since: now });
    }

    /// A client closes its connection to a backend, if there is one.
    pub(crate) fn closes(&mut self, backend: usize) {
        let (active, _) = &mut self.counters[backend];
        *active = active.saturating_sub(1);
        if let Some(at) = self.connections.iter().position(|found| found.backend == backend) {
            self.connections.remove(at);
        }
    }

    /// Seats at a backend that nobody has taken.
    pub(crate) fn seats(&self, backend: usize) -> u32 {
        let id = identifier(self.index, backend);
        let rows = 1..=SERVICES.len() as u32;
        rows.filter_map(|row| self.maps.seats(row).get(&id).copied()).sum()
    }

    /// Connections to a backend, and seats.
    pub(crate) fn has_at(&self, backend: usize) -> u32 {
        self.counters[backend].0 + self.seats(backend)
    }

    /// A datagram arrives.
    pub(crate) fn receive(&mut self, now: Duration, mut datagram: Vec<u8>) -> Said {
        match &mut self.agent {
            None => Said::default(),
            Some(_) if self.is_frozen => {
                self.queue.push(datagram);
                Said::default()
            }
            Some(agent) => {
                let clock = agent.clock(now);
                // The same.
                let _ = agent.link.at(clock).exchange.receive(clock, &mut datagram);
                agent.speak(self.index, clock)
            }
        }
    }

    /// A connection to a backend comes.
    pub(crate) fn opens(&mut self, backend: usize) {
        let (active, opened) = &mut self.counters[backend];
        (*active, *opened) = (*active + 1, *opened + 1);
        self.most[backend] = self.most[backend].max(*active);
    }

    /// Connections of all nodes to a backend of a Service, as this one knows; none where it does
    /// not.
    pub(crate) fn knows(&self, now: Duration, of: usize, backend: usize) -> Option<u64> {
        let agent = self.agent.as_ref()?;
        let own = self.has_at(backend);
        let inner = agent.link.lock();
        inner.exchange.node().cluster(agent.clock(now), service(of), &addr(backend), own)
    }

    /// Whether a backend is in the row of a Service.
    pub(crate) fn has(&self, of: usize, backend: usize) -> bool {
        self.shape[of] & (1 << backend) != 0
    }
}

impl Agent {
    fn clock(&self, now: Duration) -> Duration {
        self.ahead + now.saturating_sub(self.started)
    }

    fn speak(&self, node: usize, clock: Duration) -> Said {
        let mut inner = self.link.at(clock);
        let exchange = &mut inner.exchange;
        let words = exchange.node_mut().words(clock);
        let is_due = exchange.next() <= clock;
        let datagrams = if is_due { exchange.due(clock) } else { Vec::new() };
        let others = words.others.into_iter();
        Said { datagrams, others: others.map(|(id, others)| (backend(node, id), others)).collect() }
    }
}

fn keys(index: usize) -> Keys {
    let text = match index {
        0 => FIRST.to_owned(),
        1 => format!("{FIRST}\n{SECOND}"),
        2 => format!("{SECOND}\n{FIRST}"),
        3 => SECOND.to_owned(),
        _ => NOBODYS.to_owned(),
    };
    Keys::parse(&text, Path::new("peer-key")).expect("a key")
}
