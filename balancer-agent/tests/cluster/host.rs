//! A node: the counters of its programs, and its agent, if that runs.

use std::{path::Path, time::Duration};

use balancer_agent::peers::{exchange::Exchange, key::Keys, name::NodeId};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::truth::{
    BACKENDS, Counters, EVERYBODY, NODES, Shape, addr, backend, identifier, node, rows, service,
    whole,
};

const FIRST: &str = "3Zt1mXo2v0bqv5rM8nQ5kq0yQvB2m0x3o1S9c7wTgkE=";
const SECOND: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const NOBODYS: &str = "nQ5kq0yQvB2m0x3o1S9c7wTgkE=3Zt1mXo2v0bqv5rM8";

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
}

struct Agent {
    exchange: Exchange,
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
        }
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
        let agent = Agent { exchange, ahead: Duration::ZERO, started: now, seen: [None; BACKENDS] };
        self.agent = Some(agent);
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
            agent.exchange.set_peers(agent.clock(now), &peers);
        }
    }

    pub(crate) fn set_rows(&mut self, now: Duration, shape: Shape) {
        self.shape = shape;
        if let Some(agent) = &mut self.agent {
            let clock = agent.clock(now);
            agent.exchange.node_mut().set_rows(clock, rows(self.index, shape));
            agent.seen = [None; BACKENDS];
        }
    }

    pub(crate) fn set_keys(&mut self, keys_index: usize) {
        self.keys = keys_index;
        if let Some(agent) = &mut self.agent {
            agent.exchange.set_keys(keys(keys_index));
        }
    }

    /// The agent looks at the counters, as each 25 ms.
    pub(crate) fn look(&mut self, now: Duration) -> Said {
        let Some(agent) = self.agent.as_mut().filter(|_| !self.is_frozen) else {
            return Said::default();
        };
        let clock = agent.clock(now);
        for (backend, (active, opened)) in self.counters.into_iter().enumerate() {
            if agent.seen[backend].replace((active, opened)) != Some((active, opened)) {
                let id = identifier(self.index, backend);
                agent.exchange.node_mut().observe(clock, id, active, opened);
            }
        }
        agent.exchange.node_mut().counted();
        for mut datagram in std::mem::take(&mut self.queue) {
            // Why it is not believed is counted.
            let _ = agent.exchange.receive(clock, &mut datagram);
        }
        agent.speak(self.index, clock)
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
                let _ = agent.exchange.receive(clock, &mut datagram);
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
        let own = self.counters[backend].0;
        agent.exchange.node().cluster(agent.clock(now), service(of), &addr(backend), own)
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

    fn speak(&mut self, node: usize, clock: Duration) -> Said {
        let words = self.exchange.node_mut().words(clock);
        let is_due = self.exchange.next() <= clock;
        let datagrams = if is_due { self.exchange.due(clock) } else { Vec::new() };
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
