//! What this node asks stewards to be permitted, and what it answers as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Node, levels::Known};
use crate::{
    desired::BackendAddr,
    peers::{
        Moment,
        name::{NodeId, ServiceId},
        own::RowBackend,
        permits::{Sums, VALID},
        wire::{Answer, Ask, Candidate, Done, Section, candidates},
    },
};

/// What a node would like to end of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Identifier of the row.
    pub row: u32,
    /// How long its backends have not changed, as far as this node knows.
    pub settled: Duration,
    /// How many connections of its Service may be moved in a minute, in all of the cluster.
    pub budget: u32,
    /// How many it would end.
    pub want: u32,
    /// True if somebody has asked for it: neither budget nor settling count.
    pub forced: bool,
    /// Backends of the row by identifier, the most interesting first: their weight, or 0 where nothing may
    /// go, and how many connections could be ended.
    pub backends: Vec<(u32, u16, u32)>,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It was sent.
    Sent,
    /// Another row of its Service port waits for an answer, or uses one: it is to be asked later.
    Later,
    /// There is nobody to be asked, or no such row.
    Nobody,
}

/// What a steward has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// The Service port that was asked about, and with which number.
    pub service: ServiceId,
    /// As above.
    pub number: u32,
    /// Identifier of the row.
    pub row: u32,
    /// How long ago it was asked.
    pub age: Duration,
    /// Identifiers of the backend where connections may be ended and of the one where they go, and how many.
    pub moves: Vec<(u32, u32, u32)>,
}

/// Questions and answers of this node.
#[derive(Debug, Default)]
pub(super) struct Moves {
    number: u32,
    /// What was asked and not answered: to whom, when, and which backends.
    pending: BTreeMap<ServiceId, Pending>,
    answered: Vec<(Moment, Permitted)>,
    /// What was answered and is being used, by Service port, and when that was asked.
    using: BTreeMap<ServiceId, Moment>,
    /// What is to be said at once.
    pub(super) outbox: Vec<(NodeId, Section)>,
    /// What was carried out or refused last, by Service port, and when. Forgotten once every report since
    /// has said it.
    pub(super) done: BTreeMap<ServiceId, (Moment, Done)>,
}

impl Moves {
    /// Forgets what was said for as long as anybody may ask, and what is not answered in time.
    pub(super) fn forget(&mut self, now: Moment) {
        self.done.retain(|_, (at, _)| *at + SAID > now);
        self.using.retain(|_, at| *at + 2 * VALID > now);
        self.pending.retain(|_, pending| pending.at + VALID > now);
    }

    /// True where nothing is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let Self { number: _, pending, answered, using, outbox, done } = self;
        pending.is_empty()
            && answered.is_empty()
            && using.is_empty()
            && outbox.is_empty()
            && done.is_empty()
    }

    /// True where another row of a Service port waits for an answer, or what was answered is being used.
    fn is_busy(&self, now: Moment, service: ServiceId, row: u32) -> bool {
        let waits = |pending: &Pending| pending.row != row && pending.at + VALID > now;
        self.pending.get(&service).is_some_and(waits)
            || self.using.get(&service).is_some_and(|at| *at + 2 * VALID > now)
    }
}

/// How long it is said what was carried out: longer than a steward waits for it.
const SAID: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Pending {
    to: NodeId,
    number: u32,
    row: u32,
    at: Moment,
    want: u32,
    /// Their identifiers, and whether something may go there.
    backends: Vec<(u32, bool)>,
}

impl Node {
    /// Asks the steward of the Service port of a row. An earlier question about that row is void.
    pub fn ask(&mut self, now: Moment, request: &Request) -> Asked {
        let Some(service) = self.levels.service_of(request.row) else { return Asked::Nobody };
        let Some((steward, _)) = self.stewards.get(&service).copied() else { return Asked::Nobody };
        if self.heard.is_empty() {
            return Asked::Nobody;
        }
        if self.moves.is_busy(now, service, request.row) {
            return Asked::Later;
        }
        let Some((ask, backends)) = self.question(service, request) else { return Asked::Nobody };
        let Request { row, want, .. } = *request;
        let number = ask.number;
        let pending = Pending { to: steward, number, row, at: now, want, backends };
        self.moves.pending.insert(service, pending);
        if steward == self.me {
            let answer = self.answer(now, self.me, &ask);
            self.answered(now, self.me, &answer);
        } else {
            self.moves.outbox.push((steward, Section::Ask(ask)));
        }
        Asked::Sent
    }

    /// The next question about a row, and the identifiers of its candidates, with whether something may go
    /// there. None where there is no such row.
    pub(super) fn question(
        &mut self,
        service: ServiceId,
        request: &Request,
    ) -> Option<(Ask, Vec<(u32, bool)>)> {
        let known = request.backends.iter().filter_map(|(id, weight, quiet)| {
            let backend = self.own.addr_of(*id)?;
            let quiet = u16::try_from(*quiet).unwrap_or(u16::MAX);
            Some((*id, Candidate { backend, weight: *weight, quiet }))
        });
        let mut known: Vec<_> = known.collect();
        known.truncate(candidates(known.iter().any(|(_, found)| found.backend.addr().is_ipv6())));
        let shape = self.levels.row(request.row)?.shape();
        self.moves.number = self.moves.number.wrapping_add(1);
        let backends = known.iter().map(|(id, found)| (*id, found.weight > 0)).collect();
        let candidates = known.into_iter().map(|(_, found)| found).collect();
        let Request { settled, budget, want, forced, .. } = *request;
        let ask = Ask {
            service,
            number: self.moves.number,
            // A steward has forgotten what it has permitted by the time that this node has.
            done: self.moves.done.get(&service).map_or(0, |(_, done)| done.number),
            nodes: self.nodes() as u16,
            settled,
            budget,
            want,
            forced,
            shape,
            candidates,
        };
        Some((ask, backends))
    }

    /// What was answered since this was asked last.
    pub fn permitted(&mut self, now: Moment) -> Vec<Permitted> {
        let answered = std::mem::take(&mut self.moves.answered);
        let aged = answered.into_iter().map(|(at, permitted)| {
            let age = now.saturating_sub(at);
            Permitted { age, ..permitted }
        });
        aged.collect()
    }

    /// True if something was answered that nobody has taken yet.
    pub const fn is_permitted(&self) -> bool {
        !self.moves.answered.is_empty()
    }

    /// What was answered is carried out, but for so many permits. The counters that were observed last
    /// include it.
    pub fn settle(&mut self, now: Moment, service: ServiceId, number: u32, refused: u32) {
        if self.own.has(service) {
            let refused = u16::try_from(refused).unwrap_or(u16::MAX);
            self.moves.using.remove(&service);
            self.moves.done.insert(service, (now, Done { number, refused }));
            self.own.mark(service);
        }
    }

    /// Connections of all other nodes to the backends of a row, by identifier; none where nothing was told
    /// that counts.
    pub fn others_of(&self, now: Moment, row: u32) -> Option<BTreeMap<u32, u32>> {
        let service = self.levels.service_of(row)?;
        let row = self.levels.row(row)?;
        if self.known.told(now, service).is_none() && !self.is_unused(now, service) {
            return None;
        }
        let others = row.row.backends.iter().map(|backend| {
            let services = self.own.services_of(backend.id);
            (backend.id, self.others(now, services, &backend.addr).unwrap_or(0))
        });
        Some(others.collect())
    }

    pub(super) fn hear_ask(&mut self, now: Moment, from: NodeId, ask: &Ask) {
        if self.peers.contains_key(&from) && self.own.has(ask.service) {
            let answer = self.answer(now, from, ask);
            self.moves.outbox.push((from, Section::Answer(answer)));
        }
    }

    /// An answer. Of a steward that has just begun, or hears fewer nodes than who asks, it is nothing: it
    /// does not know all. The same where a node with connections has fallen silent, which may move them
    /// alone: until it is heard again, or what it had does not count any more.
    fn answer(&mut self, now: Moment, from: NodeId, ask: &Ask) -> Answer {
        let service = ask.service;
        let is_heard = |node| node == self.me || self.heard.contains(&node);
        let waits = || !ask.forced && self.ledger.has_any(service, |node| !is_heard(node));
        if !self.speaks(now, service) || usize::from(ask.nodes) > self.nodes() || waits() {
            return Answer { service, number: ask.number, grants: Vec::new() };
        }
        let (alike, yields, away) = self.known_of(now, ask);
        let total = |backend: &_| self.ledger.total(service, backend);
        self.permits.answer(now, from, ask, &Sums { alike, yields, away, total: &total })
    }

    /// What a steward knows of the backends of a question, beside their totals: those of its own row of that
    /// shape, whether another Service port goes first, and connections that are about to come back.
    pub(super) fn known_of(
        &self,
        now: Moment,
        ask: &Ask,
    ) -> (Option<Vec<(BackendAddr, u16)>>, bool, u32) {
        let service = ask.service;
        let rows = self.levels.rows_of(service);
        let alike =
            rows.iter().find(|known| known.shape() == ask.shape).map(|Known { row, .. }| {
                let weight = |backend: &RowBackend| if row.weighted { backend.weight } else { 1 };
                row.backends.iter().map(|backend| (backend.addr, weight(backend))).collect()
            });
        let inside: BTreeSet<_> = ask.candidates.iter().map(|found| found.backend).collect();
        let left = self.own.left(now, service).into_iter().map(|(addr, _)| addr);
        let left = left.filter(|addr| !inside.contains(addr));
        let away: u64 = left.map(|addr| self.ledger.total(service, &addr)).sum();
        let away = u32::try_from(away).unwrap_or(u32::MAX);
        // The names of all are known to all: everybody takes the same one for the first.
        let is_shared = |found: &Candidate| {
            self.own.services_at(&found.backend).iter().any(|other| *other < service)
        };
        let yields = ask.candidates.iter().any(is_shared);
        (alike, yields, away)
    }

    pub(super) fn answered(&mut self, now: Moment, from: NodeId, answer: &Answer) {
        let is_this = |pending: &&Pending| pending.to == from && pending.number == answer.number;
        if self.moves.pending.get(&answer.service).filter(is_this).is_none() {
            return;
        }
        let Some(pending) = self.moves.pending.remove(&answer.service) else { return };
        if pending.at + VALID <= now {
            return;
        }
        // No more than was asked for, whoever the steward is.
        let backend = |index: u16| pending.backends.get(usize::from(index)).copied();
        let mut left = pending.want;
        let moves = answer.grants.iter().filter_map(|grant| {
            let ((from, _), (to, true)) = (backend(grant.from)?, backend(grant.to)?) else {
                return None;
            };
            let count = left.min(grant.count.into());
            left -= count;
            (count > 0).then_some((from, to, count))
        });
        let permitted = Permitted {
            service: answer.service,
            number: answer.number,
            row: pending.row,
            age: Duration::ZERO,
            moves: moves.collect(),
        };
        if !permitted.moves.is_empty() {
            self.moves.using.insert(answer.service, pending.at);
        }
        self.moves.answered.push((pending.at, permitted));
    }
}
