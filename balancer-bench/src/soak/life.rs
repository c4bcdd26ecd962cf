//! What is done to sockets, drawn from a seed: the same seed gives the same operations, whatever
//! becomes of them.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// One operation on one of a worker's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The place of the socket in the worker's table.
    pub slot: usize,
    /// What is done.
    pub deed: Deed,
}

/// What is done to a socket. Where there is none, or one of the wrong kind, a socket is opened
/// first if the deed needs one, else nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// `connect()`.
    Dial {
        /// Where to.
        target: Target,
        /// By which call.
        way: Way,
        /// With a socket of this kind, if it is a new one.
        kind: Kind,
        /// With the socket that is there, if there is one: a reconnect.
        again: bool,
    },
    /// A datagram to a Service.
    SendTo {
        /// Where to.
        target: Target,
        /// Over a socket of this kind, if it is a new one.
        family: Family,
    },
    /// Datagrams over a socket of their own, and what answers them.
    Converse {
        /// Over a socket of this kind.
        family: Family,
    },
    /// `connect()` to AF_UNSPEC.
    Dissolve,
    /// Bytes to whom it is connected to.
    Send,
    /// `shutdown(SHUT_WR)`.
    HalfClose,
    /// `getpeername()` must tell what was dialled.
    Ask,
    /// `dup()`: the socket lives until the last of its descriptors is closed.
    Dup,
    /// Into a Unix socket (SCM_RIGHTS), where it stays until the next deed takes it out.
    Post,
    /// A child that has a copy of every descriptor and closes none.
    Fork,
    /// A child that executes another program with this socket open.
    Exec,
    /// SIGKILL for the oldest child.
    Reap,
    /// Two sockets from one port to one backend: the second finds no free port, after the hook.
    Clash,
    /// `close()` of every descriptor. What is posted is lost.
    Close,
    /// `close()` that resets.
    Reset,
}

/// Whom a socket connects to: Services by what their backends do, and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Backends that keep connections, and close the oldest when they have many.
    Keep,
    /// Backends that close at once.
    Close,
    /// Backends that reset at once.
    Reset,
    /// Backends that don't listen.
    Refuse,
    /// Backends that no packet reaches.
    Drop,
    /// Backends without a route.
    NoRoute,
    /// A Service without endpoints.
    Empty,
    /// A Service with one backend.
    One,
    /// No Service, but a backend's own address.
    Direct,
    /// Backends that answer datagrams,
    Answer,
    /// and the same once more, on another port.
    Echo,
}

/// By which call a socket is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// connect(2).
    Plain,
    /// sendto(2) with MSG_FASTOPEN.
    FastOpen,
    /// IORING_OP_CONNECT.
    Ring,
}

/// What kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// TCP or UDP.
    pub transport: Transport,
    /// IP version.
    pub family: Family,
    /// Whether its calls wait.
    pub blocking: bool,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How a socket speaks IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// IPv4 from an IPv6 socket.
    Mapped,
}

/// The endless sequence of operations of one worker.
#[derive(Clone, Debug)]
pub struct Lives {
    rng: StdRng,
    slots: usize,
}

impl Lives {
    /// The sequence of a seed, over so many sockets.
    pub fn new(seed: u64, slots: usize) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), slots }
    }

    fn target(&mut self, transport: Transport) -> Target {
        let drawn = self.rng.random_range(0..100);
        match (drawn, transport) {
            (0..4, _) => Target::Drop,
            (4..8, _) => Target::NoRoute,
            (8..11, _) => Target::Empty,
            (11..17, _) => Target::Direct,
            (17..25, Transport::Tcp) => Target::Close,
            (25..33, Transport::Tcp) => Target::Reset,
            (33..41, Transport::Tcp) => Target::Refuse,
            _ => Target::Keep,
        }
    }

    fn family(&mut self) -> Family {
        match self.rng.random_range(0..4) {
            0 | 1 => Family::V4,
            2 => Family::V6,
            _ => Family::Mapped,
        }
    }

    fn dial(&mut self) -> Deed {
        let udp = self.rng.random_ratio(1, 5);
        let transport = if udp { Transport::Udp } else { Transport::Tcp };
        let target = self.target(transport);
        let way = match self.rng.random_range(0..20) {
            0 | 1 => Way::FastOpen,
            // It would wait for what never comes.
            2 if target != Target::Drop => Way::Ring,
            _ => Way::Plain,
        };
        // A call that waits for what never comes takes long: seldom.
        let patience = if target == Target::Drop { 1 } else { 50 };
        let blocking = self.rng.random_range(0..100) < patience;
        let kind = Kind { transport, family: self.family(), blocking };
        Deed::Dial { target, way, kind, again: self.rng.random_ratio(1, 5) }
    }

    fn deed(&mut self) -> Deed {
        match self.rng.random_range(0..10_000) {
            0..6 => Deed::Fork,
            6..8 => Deed::Exec,
            8..30 => Deed::Reap,
            30..80 => Deed::Clash,
            80..400 => Deed::Dissolve,
            400..700 => Deed::HalfClose,
            700..1000 => Deed::Send,
            1000..1100 => Deed::Ask,
            1100..1300 => Deed::Dup,
            1300..1500 => Deed::Post,
            1500..2000 => {
                let target = self.target(Transport::Udp);
                Deed::SendTo { target, family: self.family() }
            }
            2000..2050 => Deed::Converse { family: self.family() },
            2050..4000 => Deed::Close,
            4000..4600 => Deed::Reset,
            _ => self.dial(),
        }
    }
}

impl Iterator for Lives {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        let slot = self.rng.random_range(0..self.slots);
        Some(Operation { slot, deed: self.deed() })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, mem};

    use super::*;

    #[test]
    fn a_seed_tells_every_operation() {
        let draw = |seed| Lives::new(seed, 64).take(10_000).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_deed_and_target_occurs() {
        let lives: Vec<_> = Lives::new(1, 64).take(200_000).collect();
        let kinds = lives.iter().map(|life| mem::discriminant(&life.deed));
        assert_eq!(kinds.collect::<std::collections::HashSet<_>>().len(), 15);
        let target = |life: &Operation| match life.deed {
            Deed::Dial { target, .. } => Some(target),
            _ => None,
        };
        let targets: BTreeSet<_> = lives.iter().filter_map(target).collect();
        assert_eq!(targets.len(), 8, "all but the one of a clash: {targets:?}");
    }
}
