//! Many nodes that one thread plays: what their agents would say to one real agent, sealed by the
//! key that they share.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
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
        seal::Header,
        socket::BUFFER,
        steward::steward,
    },
};
use balancer_lab::error::{Attempt as _, Result};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// How often an agent looks at its counters.
const LOOK: Duration = Duration::from_millis(25);

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
    /// Plays until it is told to stop; while `is_busy`, connections to all backends come all the
    /// time.
    pub(super) fn run(
        &self,
        socket: &UdpSocket,
        is_busy: &AtomicBool,
        stops: &AtomicBool,
    ) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut played: HashMap<NodeId, Played> =
            self.nodes.iter().map(|node| (*node, self.played(*node, &mut rng))).collect();
        socket.set_read_timeout(Some(LOOK / 5)).attempt("set SO_RCVTIMEO")?;
        let started = Instant::now();
        let (mut buffer, mut looked) = ([0; BUFFER], Duration::ZERO);
        while !stops.load(Ordering::Relaxed) {
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
                node.look(now, is_busy.load(Ordering::Relaxed));
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
        Ok(())
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
