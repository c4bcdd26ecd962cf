//! A node and its peers, by sealed datagrams. Neither sockets nor clocks nor randomness of its own.

use std::collections::{BTreeMap, HashMap};

use super::{
    Moment,
    key::Keys,
    name::NodeId,
    node::{Node, Seen},
    pace,
    seal::{Header, MAJOR, Sealer},
    session::{Judgement, Rejected, Session, address_check},
    wire::{Hello, Section, pack, read},
};

/// Gives random numbers.
pub type Draw = Box<dyn FnMut() -> u64 + Send>;

/// A node and its peers.
pub struct Exchange {
    me: NodeId,
    keys: Keys,
    sealer: Sealer,
    node: Node,
    talks: HashMap<NodeId, Talk>,
    draw: Draw,
    rejected: BTreeMap<Rejected, u64>,
    traffic: Traffic,
}

/// What was sent and believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams that were believed.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

/// What is shown of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What the node knows of it.
    pub seen: Seen,
    /// What went to and fro.
    pub traffic: Traffic,
    /// Datagrams in its name that had no effect.
    pub rejected: u64,
    /// Those of them that no key had sealed, since one was believed.
    pub forged: u64,
    /// The other major version that one of these was of.
    pub version: Option<u8>,
}

struct Talk {
    session: Session,
    /// True if the peer should hear what it takes to be believed.
    greets: bool,
    greeted: Option<Moment>,
    traffic: Traffic,
    rejected: u64,
    forged: u64,
    version: Option<u8>,
}

impl Talk {
    const fn new(session: Session) -> Self {
        Self {
            session,
            greets: false,
            greeted: None,
            traffic: Traffic { sent: 0, sent_bytes: 0, received: 0, received_bytes: 0 },
            rejected: 0,
            forged: 0,
            version: None,
        }
    }

    /// When the peer may be greeted.
    fn greets_at(&self) -> Option<Moment> {
        self.greets.then(|| self.greeted.map_or(Moment::ZERO, |at| at + pace::GAP))
    }
}

impl Exchange {
    /// A node that has just started.
    pub fn new(me: NodeId, keys: Keys, mut draw: Draw) -> Self {
        let sealer = Sealer::new(&keys, me, draw());
        Self {
            me,
            keys,
            sealer,
            node: Node::new(me),
            talks: HashMap::new(),
            draw,
            rejected: BTreeMap::new(),
            traffic: Traffic::default(),
        }
    }

    /// The node.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The node, to tell it of rows and counters and to ask for words.
    pub const fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Takes who the peers are.
    pub fn set_peers(&mut self, now: Moment, peers: &[NodeId]) {
        self.talks.retain(|id, _| peers.contains(id));
        for id in peers.iter().filter(|id| **id != self.me) {
            let (keys, draw) = (&self.keys, &mut self.draw);
            let talk = || Talk::new(Session::new(keys, *id, challenge(draw)));
            self.talks.entry(*id).or_insert_with(talk);
        }
        self.node.set_peers(now, peers.iter().copied());
    }

    /// Takes other keys. All that was believed must prove itself anew, by keys that still count.
    pub fn set_keys(&mut self, keys: Keys) {
        if keys == self.keys {
            return;
        }
        self.keys = keys;
        self.sealer = Sealer::new(&self.keys, self.me, (self.draw)());
        for (id, talk) in &mut self.talks {
            talk.session = Session::new(&self.keys, *id, challenge(&mut self.draw));
        }
    }

    /// Takes a datagram, wherever it came from. Its bytes are overwritten.
    ///
    /// # Errors
    ///
    /// Where it has no effect, why. It is counted.
    pub fn receive(&mut self, now: Moment, bytes: &mut [u8]) -> Result<(), Rejected> {
        let length = bytes.len() as u64;
        let result = self.believe(now, bytes);
        match result {
            Ok(from) => {
                let talk = self.talks.get_mut(&from).map(|talk| {
                    talk.forged = 0;
                    &mut talk.traffic
                });
                for traffic in [Some(&mut self.traffic), talk].into_iter().flatten() {
                    traffic.received += 1;
                    traffic.received_bytes += length;
                }
                Ok(())
            }
            Err((from, rejected)) => {
                *self.rejected.entry(rejected).or_default() += 1;
                if let Some(talk) = from.and_then(|from| self.talks.get_mut(&from)) {
                    talk.rejected += 1;
                    talk.forged += u64::from(rejected == Rejected::Forged);
                }
                Err(rejected)
            }
        }
    }

    fn believe(
        &mut self,
        now: Moment,
        bytes: &mut [u8],
    ) -> Result<NodeId, (Option<NodeId>, Rejected)> {
        let header = Header::read(bytes).ok_or((None, Rejected::Garbage))?;
        let from = header.from;
        let rejected = |rejected| (Some(from), rejected);
        address_check(&header, self.me).map_err(rejected)?;
        let talk = self.talks.get_mut(&from).ok_or((None, Rejected::Stranger))?;
        let plain = talk.session.open(&header, bytes).map_err(rejected)?;
        if header.version != MAJOR {
            talk.version = Some(header.version);
            return Err(rejected(Rejected::Version));
        }
        let sections = read(plain).map_err(|_| rejected(Rejected::Malformed))?;
        let hello = sections.iter().find_map(|section| match section {
            Section::Hello(hello) => Some(*hello),
            _ => None,
        });
        let draw = &mut self.draw;
        let judgement = talk.session.judge(&header, hello, &mut || challenge(draw));
        // Whoever sealed it has a key, and can't be believed without an answer.
        talk.greets |= judgement != Ok(Judgement::Known);
        let judgement = judgement.map_err(rejected)?;
        talk.version = None;
        if judgement != Judgement::Known {
            // This node may have forgotten the sessions of the peer, but not what it said in them.
            self.node.restarted(now, from);
        }
        self.node.heard(now, from);
        for section in &sections {
            self.node.hear(now, from, section);
        }
        Ok(from)
    }

    /// Datagrams to send now, and to whom. Each call gives them once.
    pub fn due(&mut self, now: Moment) -> Vec<(NodeId, Vec<u8>)> {
        let mut letters = self.node.due(now);
        for (to, talk) in &self.talks {
            if talk.greets_at().is_some_and(|at| at <= now) {
                letters.entry(*to).or_default().beat = true;
            }
        }
        let mut datagrams = Vec::new();
        for (to, letter) in letters {
            let Some(talk) = self.talks.get_mut(&to) else { continue };
            let mut sections = letter.sections;
            if letter.beat {
                let hello = Hello { reports: letter.reports, ..talk.session.hello() };
                sections.insert(0, Section::Hello(hello));
                (talk.greets, talk.greeted) = (false, Some(now));
            }
            for plain in pack(&sections) {
                if self.sealer.is_spent() {
                    self.sealer.renew((self.draw)());
                }
                let datagram = self.sealer.seal(to, &plain);
                for traffic in [&mut self.traffic, &mut talk.traffic] {
                    traffic.sent += 1;
                    traffic.sent_bytes += datagram.len() as u64;
                }
                datagrams.push((to, datagram));
            }
        }
        datagrams
    }

    /// When there is something to send again, if nothing is received or observed before.
    pub fn next(&self) -> Moment {
        let greetings = self.talks.values().filter_map(Talk::greets_at);
        greetings.chain([self.node.next()]).min().unwrap_or_default()
    }

    /// What was sent and believed.
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How many datagrams had no effect, by reason.
    pub fn rejected(&self) -> impl Iterator<Item = (Rejected, u64)> {
        Rejected::ALL.map(|why| (why, self.rejected.get(&why).copied().unwrap_or(0))).into_iter()
    }

    /// What is shown of each peer.
    pub fn shown(&self, now: Moment) -> BTreeMap<NodeId, Shown> {
        let shown = |(id, seen)| {
            let talk = self.talks.get(&id)?;
            let Talk { traffic, rejected, forged, version, .. } = *talk;
            Some((id, Shown { seen, traffic, rejected, forged, version }))
        };
        self.node.seen(now).into_iter().filter_map(shown).collect()
    }
}

/// A random number that is not the one for nothing.
fn challenge(draw: &mut Draw) -> u64 {
    draw() | 1
}

#[cfg(test)]
mod tests;
