//! One node among its peers: what it says to whom and when, and what follows for its rows. Neither
//! keys nor sockets nor clocks: [`super::exchange`] seals what this says.

mod drains;
mod levels;
mod moves;
mod peer;
mod speech;
mod surveys;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use self::{levels::Levels, moves::Moves, peer::Peer, surveys::Surveys};
pub use self::{
    levels::Words,
    moves::{Asked, Permitted, Request},
    speech::Letter,
    surveys::Surveyed,
};
use super::{
    Moment,
    drains::Known as Drains,
    known::Known,
    ledger::Ledger,
    name::{NodeId, ServiceId},
    own::{Own, Row, ServiceRows},
    pace,
    permits::Permits,
    steward::steward,
    wire::Section,
};
use crate::desired::BackendAddr;

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
    /// What this node has permitted as a steward, and what it was permitted itself.
    permits: Permits,
    moves: Moves,
    /// What this node has asked to see.
    surveys: Surveys,
    /// What is drained on all nodes.
    drains: Drains,
    /// The steward of each Service port that there is a row of, and since when.
    stewards: HashMap<ServiceId, (NodeId, Moment)>,
    /// Peers that take part, as the stewards were found by.
    heard: BTreeSet<NodeId>,
    /// Before this moment none of them falls silent, and none of the peers gets a heartbeat before
    /// that one. Both are found again when they have come: a pass over all peers.
    silent_at: Option<Moment>,
    beats_at: Moment,
    forget_at: Moment,
    /// When this node tells itself everything that it tells others in heartbeats.
    own_beat_at: Moment,
    /// True once all rows and counters were taken: what is not among them then is not there.
    is_counted: bool,
}

/// What is shown of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How long ago it was heard; none if it never was.
    pub age: Option<Duration>,
    /// For how long it has been a peer.
    pub known: Duration,
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
            permits: Permits::default(),
            moves: Moves::default(),
            surveys: Surveys::default(),
            drains: Drains::default(),
            stewards: HashMap::new(),
            heard: BTreeSet::new(),
            silent_at: None,
            beats_at: Moment::ZERO,
            forget_at: Moment::ZERO,
            own_beat_at: Moment::ZERO,
            is_counted: false,
        }
    }

    /// Takes who the peers are. What one that is gone has reported counts until it has been silent
    /// for as long as any other: an agent that starts anew has left for a moment, and its
    /// connections have not.
    pub fn set_peers(&mut self, now: Moment, peers: impl IntoIterator<Item = NodeId>) {
        let mut before = std::mem::take(&mut self.peers);
        for id in peers.into_iter().filter(|id| *id != self.me) {
            let known = before.remove(&id);
            self.peers.insert(id, known.unwrap_or_else(|| Peer::new(now, self.me, id)));
        }
        self.beats_at = now;
        self.find_stewards(now);
    }

    /// Takes all rows as they are now.
    pub fn set_rows(&mut self, now: Moment, rows: Vec<Row>) {
        let mut all = ServiceRows::new();
        for row in rows {
            all.entry(row.service).or_default().push(row);
        }
        let gone = self.own.services().filter(|service| !all.contains_key(service));
        let gone: Vec<_> = gone.map(|service| (service, Vec::new())).collect();
        all.extend(gone);
        self.change_rows(now, all);
    }

    /// Takes the rows of some Service ports as they are now; one without rows is gone.
    pub fn change_rows(&mut self, now: Moment, rows: ServiceRows) {
        self.own.change_rows(now, &rows);
        let changed: Vec<_> = rows.keys().copied().collect();
        self.levels.change_rows(rows);
        for service in changed {
            self.renew_steward(now, service);
        }
    }

    /// Takes a counter of the maps: open connections of a backend, and those ever opened.
    pub fn observe(&mut self, now: Moment, backend: u32, active: u32, opened: u64) {
        self.own.observe(now, backend, active, opened);
    }

    /// All rows and all their counters were taken.
    pub const fn counted(&mut self) {
        self.is_counted = true;
    }

    /// A peer was heard. What it says follows, section by section.
    pub fn heard(&mut self, now: Moment, from: NodeId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.heard = Some(now);
        if self.heard.insert(from) {
            // It may know nothing.
            (peer.beat_at, self.beats_at) = (now, now);
            let until = now + pace::heard(self.peers.len());
            self.silent_at = Some(self.silent_at.map_or(until, |at| at.min(until)));
            self.joined(now, from);
        }
    }

    /// A peer has begun anew, and knows nothing.
    pub fn restarted(&mut self, now: Moment, from: NodeId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.rounds.clear();
        (peer.beat_at, self.beats_at) = (now, now);
        self.ledger.restarted(from);
        self.known.restarted(from);
        let reported = self.stewards.iter().filter(|(_, (node, _))| *node == from);
        reported.for_each(|(service, _)| self.own.renew(*service));
    }

    /// Takes a section of a peer.
    pub fn hear(&mut self, now: Moment, from: NodeId, section: &Section) {
        match section {
            Section::Hello(hello) => {
                let Some(peer) = self.peers.get_mut(&from) else { return };
                if hello.reports.is_some_and(|services| peer.begins(services)) {
                    self.ledger.forget_earlier(now, from);
                }
            }
            Section::Report(report) => {
                let Some(peer) = self.peers.get_mut(&from) else { return };
                let whole = peer.reports(report);
                // Whose rows are elsewhere is not summed here: whoever has the key could fill
                // memory.
                if self.own.has(report.service) {
                    self.ledger.report(now, from, report);
                    if let Some(done) = report.done {
                        self.permits.done(now, from, report.service, done);
                    }
                    if whole.service {
                        self.ledger.forget_unnamed(now, from, report.service);
                    }
                }
                if whole.heartbeat {
                    self.ledger.forget_earlier(now, from);
                }
            }
            Section::Totals(totals) => {
                let is_steward = |(node, _): &(NodeId, Moment)| *node == from;
                if self.stewards.get(&totals.service).is_some_and(is_steward) {
                    self.known.take(now, from, totals, self.heard.len() + 1);
                }
            }
            Section::Ask(ask) => self.hear_ask(now, from, ask),
            Section::Answer(answer) => self.answered(now, from, answer),
            Section::Survey(survey) => self.hear_survey(now, from, survey),
            Section::Plan(plan) => self.hear_plan(from, plan),
            Section::Drains(said) => self.drains.hear(now, from, said),
            Section::Left(left) => self.drains.hear_left(now, from, left),
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

    /// Connections of all nodes to a backend that this one has so many to; none where it was not
    /// told. Of a Service port that nobody uses its steward tells nothing, and neither does one
    /// that does not know it.
    pub fn cluster(
        &self,
        now: Moment,
        service: ServiceId,
        backend: &BackendAddr,
        own: u32,
    ) -> Option<u64> {
        let told = match self.known.told(now, service) {
            Some(told) => told.others(backend),
            None if self.is_unused(now, service) => 0,
            None => return None,
        };
        let others = self.others(now, self.own.services_at(backend), backend);
        let others = others.map_or(told, |others| others.max(told));
        Some(u64::from(own) + u64::from(others))
    }

    /// True where the steward of a Service port is there, has had the time to hear of its users,
    /// and tells of none, as this node is none either.
    fn is_unused(&self, now: Moment, service: ServiceId) -> bool {
        let peers = self.peers.len();
        let heard = pace::settled(peers) + 2 * pace::beat(peers);
        !self.heard.is_empty()
            && !self.own.is_used(service)
            && !self.known.has(service)
            && self.stewards.get(&service).is_some_and(|(_, since)| *since + heard <= now)
    }

    /// What is shown of each peer.
    pub fn seen(&self, now: Moment) -> BTreeMap<NodeId, Seen> {
        let mut stewards: HashMap<NodeId, usize> = HashMap::new();
        for (node, _) in self.stewards.values() {
            *stewards.entry(*node).or_default() += 1;
        }
        let reported = self.ledger.reported();
        let seen = |(id, peer): (&NodeId, &Peer)| {
            let seen = Seen {
                age: peer.heard.map(|at| now.saturating_sub(at)),
                known: now.saturating_sub(peer.since),
                steward_of: stewards.get(id).copied().unwrap_or(0),
                reported: reported.get(id).copied().unwrap_or(0),
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

    /// Leaves out who is silent, and looks once in a while for what is too old.
    fn forget(&mut self, now: Moment) {
        if self.silent_at.is_some_and(|at| at <= now) {
            self.find_stewards(now);
        }
        if now < self.forget_at {
            return;
        }
        self.forget_at = now + FORGET;
        self.own.forget(now);
        self.permits.forget(now);
        self.moves.forget(now);
        self.drains.forget(now);
        let peers = self.peers.len();
        self.ledger.forget(now, |bytes| pace::named(peers, pace::repeat(bytes, peers)));
        self.known.forget(now, |service| self.own.has(service));
    }

    /// Leaves out the peers that do not take part any more.
    fn find_stewards(&mut self, now: Moment) {
        let within = pace::heard(self.peers.len());
        let mut left = BTreeSet::new();
        self.heard.retain(|id| {
            let stays = self.peers.get(id).is_some_and(|peer| peer.takes_part(now, within));
            if !stays {
                left.insert(*id);
            }
            stays
        });
        let heard = self.heard.iter().filter_map(|id| self.peers.get(id)?.heard);
        self.silent_at = heard.min().map(|at| at + within);
        let theirs = self.stewards.iter().filter(|(_, (node, _))| left.contains(node));
        let theirs: Vec<_> = theirs.map(|(service, _)| *service).collect();
        for service in theirs {
            self.renew_steward(now, service);
        }
    }

    /// A peer takes part that did not: it may be the steward of some Service ports instead of
    /// another.
    fn joined(&mut self, now: Moment, node: NodeId) {
        self.permits.renew();
        let is_higher = |service, than| steward(service, [than, node]) != Some(than);
        let theirs =
            self.stewards.iter().filter(|(service, (than, _))| is_higher(**service, *than));
        let theirs: Vec<_> = theirs.map(|(service, _)| *service).collect();
        for service in theirs {
            self.set_steward(now, service, node);
        }
    }

    /// Finds the steward of a Service port. One that is new knows nothing of this node.
    fn renew_steward(&mut self, now: Moment, service: ServiceId) {
        if !self.own.has(service) {
            if self.stewards.remove(&service).is_some_and(|(node, _)| node == self.me) {
                self.forget_rounds(service);
            }
            return;
        }
        let nodes = self.heard.iter().copied().chain([self.me]);
        let Some(found) = steward(service, nodes) else { return };
        if self.stewards.get(&service).is_none_or(|(node, _)| *node != found) {
            self.set_steward(now, service, found);
        }
    }

    /// Another node is the steward of a Service port. It knows nothing of this node, and where it
    /// is this node, it has told nobody anything.
    fn set_steward(&mut self, now: Moment, service: ServiceId, node: NodeId) {
        self.own.renew(service);
        let before = self.stewards.insert(service, (node, now));
        if node == self.me {
            self.ledger.begin(service);
        } else if before.is_some_and(|(before, _)| before == self.me) {
            self.forget_rounds(service);
        }
    }

    /// This node is no longer the steward of a Service port: whoever hears it again as such hears
    /// all.
    fn forget_rounds(&mut self, service: ServiceId) {
        for peer in self.peers.values_mut() {
            peer.rounds.remove(&service);
        }
    }
}

#[cfg(test)]
mod tests;
