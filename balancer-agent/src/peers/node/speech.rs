//! What is said now, and when there is something to say again.

use std::{collections::BTreeMap, time::Duration};

use super::Node;
use crate::peers::{
    Moment,
    name::{NodeId, ServiceId},
    pace,
    wire::{Report, Section, Totals},
};

/// What is said to one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// True for a heartbeat, which repeats everything and may have nothing to say.
    pub beat: bool,
    /// How many Service ports the reports of a heartbeat are about; none where there may be others.
    pub reports: Option<u16>,
    /// What is said.
    pub sections: Vec<Section>,
}

impl Node {
    /// What is said now. Each call says it once.
    pub fn due(&mut self, now: Moment) -> BTreeMap<NodeId, Letter> {
        self.forget(now);
        let mut letters: BTreeMap<NodeId, Letter> = BTreeMap::new();
        self.reports(now, &mut letters);
        for (to, section) in std::mem::take(&mut self.moves.outbox) {
            letters.entry(to).or_default().sections.push(section);
        }
        self.drain_news(now, &mut letters);
        self.totals(now, &mut letters);
        self.beats(now, &mut letters);
        letters
    }

    /// When there is something to say again, if nothing is heard or observed before.
    pub fn next(&self) -> Moment {
        if !self.moves.outbox.is_empty() || self.drains.has_news() {
            return Moment::ZERO;
        }
        let after = |at: Option<Moment>| at.map_or(Moment::ZERO, pace::again);
        let reports = self.own.dirty().map(|service| after(self.own.reported_at(service)));
        let dirty = self.ledger.dirty().into_iter().filter_map(|service| {
            let since = self.settles(service)?;
            Some(after(self.ledger.told_at(service)).max(since))
        });
        let beats = if self.peers.is_empty() { None } else { Some(self.beats_at) };
        let passes = beats.into_iter().chain([self.own_beat_at]).chain(self.silent_at);
        reports.chain(dirty).chain(passes).min().map_or(self.forget_at, |at| at.min(self.forget_at))
    }

    /// Reports what has changed.
    fn reports(&mut self, now: Moment, letters: &mut BTreeMap<NodeId, Letter>) {
        let dirty: Vec<_> = self.own.dirty().collect();
        for service in dirty {
            let due = self.own.reported_at(service).is_none_or(|at| pace::again(at) <= now);
            let Some((node, _)) = self.stewards.get(&service).copied() else { continue };
            if node == self.me {
                self.report(now, service, node, false);
            } else if due && let Some(report) = self.report(now, service, node, false) {
                letters.entry(node).or_default().sections.push(Section::Report(report));
            }
        }
    }

    /// A report to the steward, which this node may be itself.
    fn report(&mut self, now: Moment, service: ServiceId, to: NodeId, all: bool) -> Option<Report> {
        let named = pace::named(self.peers.len(), 1);
        // What was done of what a steward has permitted is in the counts of the same report, whatever of
        // those before was lost.
        let done = self.moves.done.get(&service).map(|(_, done)| *done);
        let (opened, counts) = self.own.report(now, service, all || done.is_some(), named)?;
        if !all {
            self.own.reported(now, service);
        }
        let beats = match self.peers.get(&to) {
            Some(peer) => peer.beats,
            None => (now.as_millis() / pace::BEAT.as_millis()) as u32,
        };
        // With what was permitted alone, it does not say that it names all.
        let all = u16::try_from(counts.len()).ok().filter(|_| all && self.is_counted);
        let report = Report { service, round: beats as u8, opened, all, done, counts };
        if to == self.me {
            self.ledger.report(now, self.me, &report);
            if let Some(done) = done {
                self.permits.done(now, self.me, service, done);
            }
            return None;
        }
        Some(report)
    }

    /// From when on this node speaks as the steward of a Service port; none where it is not.
    fn settles(&self, service: ServiceId) -> Option<Moment> {
        let (node, since) = self.stewards.get(&service)?;
        (*node == self.me).then(|| *since + pace::settled(self.peers.len()))
    }

    pub(super) fn speaks(&self, now: Moment, service: ServiceId) -> bool {
        self.settles(service).is_some_and(|from| from <= now)
    }

    /// Tells what has changed: to those who dial the Service, and where they are few to all.
    fn totals(&mut self, now: Moment, letters: &mut BTreeMap<NodeId, Letter>) {
        for service in self.ledger.dirty() {
            let due = self.ledger.told_at(service).is_none_or(|at| pace::again(at) <= now);
            if !self.speaks(now, service) {
                continue;
            }
            // A steward that has just begun has told nobody anything: its first word is all there
            // is.
            let all = self.ledger.told_at(service).is_none().then(|| self.named(service));
            self.tell_oneself(now, service, all);
            if !due {
                continue;
            }
            let mut told = None;
            let are_few = self.heard.len() <= pace::FEW;
            for to in &self.heard {
                if !are_few && !self.ledger.uses(service, *to) {
                    continue;
                }
                let nodes = self.nodes() as u16;
                if let Some(mut totals) = self.ledger.totals(now, service, *to, nodes, all) {
                    told = Some(now);
                    totals.round = self.round(service, *to);
                    letters.entry(*to).or_default().sections.push(Section::Totals(totals));
                }
            }
            self.ledger.told(told, service);
        }
    }

    /// Says to each peer in its turn that this node is there, and everything that it should know.
    fn beats(&mut self, now: Moment, letters: &mut BTreeMap<NodeId, Letter>) {
        let turns: Vec<NodeId> = if self.beats_at <= now {
            let due = self.peers.iter().filter(|(_, peer)| peer.beat_at <= now);
            due.map(|(id, _)| *id).collect()
        } else {
            Vec::new()
        };
        let own_turn = self.own_beat_at <= now;
        if turns.is_empty() && !own_turn {
            self.find_beats(now);
            return;
        }
        let used = self.own.used();
        let spoken: Vec<_> =
            self.ledger.services().filter(|service| self.speaks(now, *service)).collect();
        let interval = pace::beat(self.peers.len());
        for to in turns {
            let Some(peer) = self.peers.get_mut(&to) else { continue };
            peer.beat(now, interval);
            let takes_part = self.heard.contains(&to);
            let letter = letters.entry(to).or_default();
            letter.beat = true;
            if !takes_part {
                continue;
            }
            let reports = used.iter().filter(|id| self.stewards.get(*id).map(|s| s.0) == Some(to));
            let reports: Vec<_> = reports.copied().collect();
            let mut whole = 0;
            for service in reports {
                if let Some(report) = self.report(now, service, to, true) {
                    whole += usize::from(report.all.is_some());
                    let letter = letters.entry(to).or_default();
                    letter.sections.retain(|section| !is_of(section, service));
                    letter.sections.push(Section::Report(report));
                }
            }
            let letter = letters.entry(to).or_default();
            letter.reports = u16::try_from(whole).ok().filter(|_| self.is_counted);
            self.drain_beat(now, to, letters.entry(to).or_default());
            for service in &spoken {
                letters.entry(to).or_default().sections.push(self.repeat(now, *service, to));
            }
        }
        self.find_beats(now);
        if own_turn {
            self.own_beat_at = now + interval;
            for service in used {
                if self.settles(service).is_some() {
                    self.report(now, service, self.me, true);
                }
            }
            for service in spoken {
                let all = Some(self.named(service));
                self.tell_oneself(now, service, all);
            }
        }
    }

    /// Finds when the next of the peers gets a heartbeat, where it may have been the turn of one.
    fn find_beats(&mut self, now: Moment) {
        if self.beats_at <= now {
            let next = self.peers.values().map(|peer| peer.beat_at).min();
            self.beats_at = next.unwrap_or(self.beats_at);
        }
    }

    /// A steward is its own peer. What it tells itself is as old as what it heard last: where all
    /// others are silent, it is for itself what it is for them.
    fn tell_oneself(&mut self, now: Moment, service: ServiceId, all: Option<Duration>) {
        let heard = self.heard.iter().filter_map(|id| self.peers.get(id)?.heard);
        let Some(heard) = heard.max() else { return };
        let nodes = self.nodes() as u16;
        if let Some(mut totals) = self.ledger.totals(now, service, self.me, nodes, all) {
            totals.round = (now.as_millis() / pace::BEAT.as_millis()) as u8;
            self.known.take(heard, self.me, &totals, self.nodes());
        }
    }

    /// Totals that stand in a heartbeat: all of them, or where those are many, mostly none.
    fn repeat(&mut self, now: Moment, service: ServiceId, to: NodeId) -> Section {
        let every = self.every(service);
        let all = self.peers.get_mut(&to).is_some_and(|peer| {
            let is_new = !peer.rounds.contains_key(&service);
            let all = is_new || peer.beats.is_multiple_of(every);
            let round = peer.rounds.entry(service).or_default();
            *round = round.wrapping_add(u8::from(all));
            all
        });
        let nodes = self.nodes() as u16;
        let named = all.then(|| self.named(service));
        let found = named.and_then(|_| self.ledger.totals(now, service, to, nodes, named));
        // What has changed is told when it is due.
        let rate = self.ledger.rate(now, service, to);
        let unchanged = Totals { service, round: 0, nodes, rate, all: None, counts: Vec::new() };
        let mut totals = found.unwrap_or(unchanged);
        totals.round = self.round(service, to);
        Section::Totals(totals)
    }

    /// At every which heartbeat the totals of a Service port are repeated in full.
    fn every(&self, service: ServiceId) -> u32 {
        pace::repeat(self.ledger.bytes(service), self.peers.len())
    }

    /// How long its backends are named that have no connection any more.
    fn named(&self, service: ServiceId) -> Duration {
        pace::named(self.peers.len(), self.every(service))
    }

    fn round(&self, service: ServiceId, to: NodeId) -> u8 {
        let rounds = self.peers.get(&to).map(|peer| &peer.rounds);
        rounds.and_then(|rounds| rounds.get(&service)).copied().unwrap_or(0)
    }
}

/// True for a report of a Service port.
fn is_of(section: &Section, service: ServiceId) -> bool {
    matches!(section, Section::Report(report) if report.service == service)
}
