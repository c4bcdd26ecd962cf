//! Many nodes that one thread plays: what their agents would say to one real agent, sealed by the
//! key that they share.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use balancer_agent::{
    desired::BackendAddr,
    model::Protocol,
    peers::{
        exchange::Exchange,
        key::Keys,
        name::{NodeId, ServiceId},
        own::{Row, RowBackend},
        seal::{Header, MAJOR},
        socket::BUFFER,
        steward::steward,
    },
};
use balancer_lab::error::{Attempt as _, Result};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// How often an agent looks at its counters.
const LOOK: Duration = Duration::from_millis(25);

/// Forged datagrams a second of a flood, and bytes of each: as many as a datagram of an agent can have.
pub(super) const FLOOD: u32 = 10_000;
const FORGED: usize = 1_200;

/// What the nodes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing changes.
    Quiet,
    /// Connections to all backends come all the time.
    Busy,
    /// Nothing changes, and somebody without the key sends datagrams in the name of one of them.
    Flooded,
    /// It is over.
    Over,
}

/// What they are told to do.
pub(super) struct Orders(Mutex<State>);

impl Orders {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State::Quiet))
    }

    pub(super) fn give(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is played.
pub(super) struct Play<'a> {
    pub(super) keys: Keys,
    /// The real agent, and where it listens.
    pub(super) agent: NodeId,
    pub(super) addr: SocketAddr,
    /// The nodes that are played.
    pub(super) nodes: &'a [NodeId],
    /// Services that all nodes use, and their backends.
    pub(super) services: &'a [(ServiceId, Vec<SocketAddr>)],
}

struct Played {
    exchange: Exchange,
    /// Connections of each backend of its rows, and those ever opened.
    counters: Vec<(u32, u64)>,
}

impl Play<'_> {
    /// Plays until it is told that it is over.
    pub(super) fn run(&self, socket: &UdpSocket, orders: &Orders) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut played: HashMap<NodeId, Played> =
            self.nodes.iter().map(|node| (*node, self.played(*node, &mut rng))).collect();
        socket.set_read_timeout(Some(LOOK / 5)).attempt("set SO_RCVTIMEO")?;
        let started = Instant::now();
        let (mut buffer, mut looked) = ([0; BUFFER], Duration::ZERO);
        let mut flood = self.flood();
        loop {
            let state = orders.state();
            match state {
                State::Over => return Ok(()),
                State::Flooded => flood.send(started.elapsed(), socket, self.addr),
                State::Quiet | State::Busy => flood.passed = started.elapsed(),
            }
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let bytes = &mut buffer[..length];
                    if let Some(header) = Header::read(bytes)
                        && let Some(node) = played.get_mut(&header.to)
                    {
                        // Why it is not believed is counted.
                        let _ = node.exchange.receive(started.elapsed(), bytes);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => Err(error).attempt("receive as many nodes")?,
            }
            let now = started.elapsed();
            if now < looked + LOOK {
                continue;
            }
            looked = now;
            for node in played.values_mut() {
                node.look(now, state == State::Busy);
                if node.exchange.next() > now {
                    continue;
                }
                for (to, datagram) in node.exchange.due(now) {
                    if to == self.agent {
                        // One that the kernel does not take is lost like any other.
                        let _ = socket.send_to(&datagram, self.addr);
                    }
                }
            }
        }
    }

    fn flood(&self) -> Flood {
        let mut forged = vec![0; FORGED];
        forged[0] = MAJOR;
        let from = self.nodes.first().copied().unwrap_or(self.agent);
        forged[1..9].copy_from_slice(&from.0.to_be_bytes());
        forged[9..17].copy_from_slice(&self.agent.0.to_be_bytes());
        Flood { forged, passed: Duration::ZERO, sent: 0 }
    }

    /// A node that knows of no other but the agent. It has the Services that either of the two
    /// sums: of all others they would not speak to each other.
    fn played(&self, node: NodeId, rng: &mut StdRng) -> Played {
        let mut draws = StdRng::seed_from_u64(rng.random());
        let mut exchange = Exchange::new(node, self.keys.clone(), Box::new(move || draws.random()));
        exchange.set_peers(Duration::ZERO, &[node, self.agent]);
        let nodes = || self.nodes.iter().copied().chain([self.agent]);
        let is_theirs = |service: &ServiceId| {
            let found = steward(*service, nodes());
            found == Some(node) || found == Some(self.agent)
        };
        let theirs = self.services.iter().filter(|(service, _)| is_theirs(service));
        let mut next = 0;
        let row = |(number, (service, backends)): (u32, &(ServiceId, Vec<SocketAddr>))| {
            let backends = backends.iter().map(|addr| {
                next += 1;
                RowBackend { id: next, addr: BackendAddr::new(*addr, Protocol::Tcp), weight: 1 }
            });
            Row { id: number, service: *service, weighted: false, backends: backends.collect() }
        };
        let rows = (1..).zip(theirs).map(row).collect();
        exchange.node_mut().set_rows(Duration::ZERO, rows);
        Played { exchange, counters: vec![(1, 1); next as usize] }
    }
}

/// Datagrams of somebody who has read a header and has no key: nothing but an attempt to open one tells.
struct Flood {
    forged: Vec<u8>,
    /// Up to when they were sent.
    passed: Duration,
    sent: u64,
}

impl Flood {
    /// Sends what is due.
    fn send(&mut self, now: Duration, socket: &UdpSocket, to: SocketAddr) {
        let due = (now - self.passed).as_secs_f64() * f64::from(FLOOD);
        for _ in 0..due as u64 {
            self.sent += 1;
            self.forged[17..25].copy_from_slice(&self.sent.to_be_bytes());
            // One that the kernel does not take is lost like any other.
            let _ = socket.send_to(&self.forged, to);
        }
        self.passed += Duration::from_secs_f64(due.floor() / f64::from(FLOOD));
    }
}

impl Played {
    fn look(&mut self, now: Duration, is_busy: bool) {
        for (id, (active, opened)) in (1..).zip(&mut self.counters) {
            if is_busy {
                // One comes, and every other time one goes.
                (*active, *opened) = (1 + (*opened % 2) as u32, *opened + 1);
            }
            self.exchange.node_mut().observe(now, id, *active, *opened);
        }
        self.exchange.node_mut().counted();
    }
}
