//! One node among its peers: what it says to whom and when, and what follows for its rows. Neither
//! keys nor sockets nor clocks: [`super::exchange`] seals what this says.

mod levels;
mod peer;
mod speech;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use self::{levels::Levels, peer::Peer};
pub use self::{levels::Words, speech::Letter};
use super::{
    Moment,
    known::Known,
    ledger::Ledger,
    name::{NodeId, ServiceId},
    own::{Own, Row},
    pace,
    steward::steward,
    wire::Section,
};

/// How often what is too old is looked for.
const FORGET: Duration = Duration::from_millis(500);

/// A node.
#[derive(Debug)]
pub struct Node {
    me: NodeId,
    peers: BTreeMap<NodeId, Peer>,
    own: Own,
    ledger: Ledger,
    known: Known,
    levels: Levels,
    /// The steward of each Service port that there is a row of, and since when.
    stewards: HashMap<ServiceId, (NodeId, Moment)>,
    /// Peers that take part, as the stewards were found by.
    heard: BTreeSet<NodeId>,
    forget_at: Moment,
    /// When this node tells itself everything that it tells others in heartbeats.
    own_beat_at: Moment,
}

/// What is shown of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How long ago it was heard; none if it never was.
    pub age: Option<Duration>,
    /// Service ports of this node that it is the steward of.
    pub steward_of: usize,
    /// Connections that it has reported to this node.
    pub reported: u64,
}

impl Node {
    /// A node without peers and rows.
    pub fn new(me: NodeId) -> Self {
        Self {
            me,
            peers: BTreeMap::new(),
            own: Own::default(),
            ledger: Ledger::default(),
            known: Known::default(),
            levels: Levels::default(),
            stewards: HashMap::new(),
            heard: BTreeSet::new(),
            forget_at: Moment::ZERO,
            own_beat_at: Moment::ZERO,
        }
    }

    /// Takes who the peers are. What one that is gone has reported counts nothing any more.
    pub fn set_peers(&mut self, now: Moment, peers: impl IntoIterator<Item = NodeId>) {
        let mut before = std::mem::take(&mut self.peers);
        for id in peers.into_iter().filter(|id| *id != self.me) {
            let known = before.remove(&id);
            self.peers.insert(id, known.unwrap_or_else(|| Peer::new(now, self.me, id)));
        }
        self.ledger.forget(now, |node| before.contains_key(&node));
        self.find_stewards(now);
    }

    /// Takes the rows as they are now.
    pub fn set_rows(&mut self, now: Moment, rows: Vec<Row>) {
        self.own.set_rows(now, &rows);
        self.levels.set_rows(rows);
        self.renew_stewards(now);
    }

    /// Takes a counter of the maps: open connections of a backend, and those ever opened.
    pub fn observe(&mut self, now: Moment, backend: u32, active: u32, opened: u64) {
        self.own.observe(now, backend, active, opened);
    }

    /// A peer was heard. What it says follows, section by section.
    pub fn heard(&mut self, now: Moment, from: NodeId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let took_part = peer.takes_part(now);
        peer.heard = Some(now);
        if !took_part {
            // It may know nothing.
            peer.beat_at = now;
            self.find_stewards(now);
        }
    }

    /// A peer has begun anew, and knows nothing.
    pub fn restarted(&mut self, now: Moment, from: NodeId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.rounds.clear();
        peer.beat_at = now;
        self.ledger.restarted(from);
        self.known.restarted(from);
        let reported = self.stewards.iter().filter(|(_, (node, _))| *node == from);
        reported.for_each(|(service, _)| self.own.renew(*service));
    }

    /// Takes a section of a peer.
    pub fn hear(&mut self, now: Moment, from: NodeId, section: &Section) {
        match section {
            Section::Hello(_) => {}
            Section::Report(report) => {
                // Whose rows are elsewhere is not summed here: whoever has the key could fill memory.
                if self.own.has(report.service) && self.peers.contains_key(&from) {
                    self.ledger.report(now, from, report);
                }
            }
            Section::Totals(totals) => {
                let is_steward = |(node, _): &(NodeId, Moment)| *node == from;
                if self.stewards.get(&totals.service).is_some_and(is_steward) {
                    self.known.take(now, from, totals, self.heard.len() + 1);
                }
            }
        }
    }

    /// Nodes that take part, this one among them.
    pub fn nodes(&self) -> usize {
        self.heard.len() + 1
    }

    /// How old the totals are on average that still count.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        self.known.age(now)
    }

    /// Connections of all nodes to a backend that this one has so many to; none where it was not told.
    pub fn cluster(
        &self,
        now: Moment,
        service: ServiceId,
        backend: &crate::desired::BackendAddr,
        own: u32,
    ) -> Option<u64> {
        let others = self.known.told(now, service)?.others(backend);
        Some(u64::from(own) + u64::from(others))
    }

    /// What is shown of each peer.
    pub fn seen(&self, now: Moment) -> BTreeMap<NodeId, Seen> {
        let mut stewards: HashMap<NodeId, usize> = HashMap::new();
        for (node, _) in self.stewards.values() {
            *stewards.entry(*node).or_default() += 1;
        }
        let seen = |(id, peer): (&NodeId, &Peer)| {
            let seen = Seen {
                age: peer.heard.map(|at| now.saturating_sub(at)),
                steward_of: stewards.get(id).copied().unwrap_or(0),
                reported: self.ledger.reported(*id),
            };
            (*id, seen)
        };
        self.peers.iter().map(seen).collect()
    }

    /// Service ports that this node is the steward of, and of how many.
    pub fn steward_of(&self) -> (usize, usize) {
        let own = self.stewards.values().filter(|(node, _)| *node == self.me).count();
        (own, self.stewards.len())
    }

    /// When the first of the peers that take part does no longer, if it is not heard again.
    fn silent_at(&self) -> Option<Moment> {
        let heard = self.heard.iter().filter_map(|id| self.peers.get(id)?.heard);
        heard.min().map(|at| at + pace::HEARD)
    }

    /// Leaves out who is silent, and looks once in a while for what is too old.
    fn forget(&mut self, now: Moment) {
        if self.silent_at().is_some_and(|at| at <= now) {
            self.find_stewards(now);
        }
        if now < self.forget_at {
            return;
        }
        self.forget_at = now + FORGET;
        self.own.forget(now);
        self.ledger.forget(now, |_| false);
        self.known.forget(now, |service| self.own.has(service));
    }

    /// Finds the stewards where other peers take part than before.
    fn find_stewards(&mut self, now: Moment) {
        let heard: BTreeSet<_> = {
            let takes_part = self.peers.iter().filter(|(_, peer)| peer.takes_part(now));
            takes_part.map(|(id, _)| *id).collect()
        };
        if heard != self.heard {
            self.heard = heard;
            self.renew_stewards(now);
        }
    }

    /// Finds the stewards. One that is new knows nothing of this node.
    fn renew_stewards(&mut self, now: Moment) {
        let mut before = std::mem::take(&mut self.stewards);
        let services: Vec<_> = self.own.services().collect();
        for service in services {
            let nodes = self.heard.iter().copied().chain([self.me]);
            let Some(found) = steward(service, nodes) else { continue };
            let known = before.remove(&service).filter(|(node, _)| *node == found);
            if known.is_none() {
                self.own.renew(service);
            }
            self.stewards.insert(service, known.unwrap_or((found, now)));
        }
    }
}

#[cfg(test)]
mod tests;
