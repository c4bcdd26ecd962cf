//! What this node was told of the others.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Moment,
    ledger::{MOST, is_over},
    name::{NodeId, ServiceId},
    pace,
    wire::Totals,
};
use crate::desired::BackendAddr;

/// Words that come closer together are one.
const TOGETHER: Duration = Duration::from_millis(20);

/// What this node was told, by Service port.
#[derive(Debug, Default)]
pub struct Known {
    services: HashMap<ServiceId, Told>,
    /// Service ports of which something new was told.
    news: BTreeSet<ServiceId>,
    /// Backends of all of them.
    backends: usize,
}

/// What this node was told of a Service port.
#[derive(Debug)]
pub struct Told {
    counts: HashMap<BackendAddr, (u32, u8)>,
    /// Who told it; none if it has begun anew since, and its rounds with it.
    from: Option<NodeId>,
    /// The round of the last word, and the one in which what is not named any more was last looked
    /// for.
    round: u8,
    looked: u8,
    /// How many backends the words of a round have named that is told in full.
    named: (u8, usize),
    /// True once every backend was named by a whole round, however many have changed since.
    is_whole: bool,
    /// Connections that other nodes open in 1,000 s.
    pub rate: u32,
    /// How many nodes are in it.
    pub nodes: u16,
    /// When it was told last.
    pub at: Moment,
    /// Mean time between two words.
    pub interval: Duration,
}

impl Known {
    /// Takes totals of a steward. Where it hears fewer nodes than the `heard` that this node does,
    /// what was told before stands until it is too old: that steward has just begun, or is cut off.
    pub fn take(&mut self, now: Moment, from: NodeId, totals: &Totals, heard: usize) {
        let hears_all = usize::from(totals.nodes) >= heard;
        let told = self.services.entry(totals.service).or_insert_with(|| Told::new(now));
        let is_fresh = told.at + pace::FRESH > now;
        if !hears_all && is_fresh && told.is_whole && told.nodes > totals.nodes {
            return;
        }
        let passed = now.saturating_sub(told.at);
        if passed >= TOGETHER {
            let passed = passed.clamp(pace::GAP, pace::FRESH);
            told.interval = (told.interval * 3 + passed) / 4;
        }
        // What was changed in the meantime may have been lost, too.
        told.is_whole &= is_fresh;
        if told.from.replace(from) != Some(from) {
            // It may not have heard yet what all nodes have.
            told.counts.values_mut().for_each(|(_, round)| *round = totals.round);
            told.named = (totals.round, 0);
        }
        (told.at, told.nodes, told.rate) = (now, totals.nodes, totals.rate);
        told.round = totals.round;
        for (backend, count) in &totals.counts {
            if let Some(known) = told.counts.get_mut(backend) {
                *known = (*count, totals.round);
            } else if self.backends < MOST {
                self.backends += 1;
                told.counts.insert(*backend, (*count, totals.round));
            }
        }
        if let Some(all) = totals.all {
            let before = if told.named.0 == totals.round { told.named.1 } else { 0 };
            told.named = (totals.round, before + totals.counts.len());
            if told.named.1 >= usize::from(all) {
                told.is_whole = true;
                // What a whole round does not name is gone.
                let before = told.counts.len();
                told.counts.retain(|_, (_, round)| *round == totals.round);
                self.backends = self.backends.saturating_sub(before - told.counts.len());
            }
        }
        self.news.insert(totals.service);
    }

    /// A node has begun anew. What it told stands until it has had the time to name it again.
    pub fn restarted(&mut self, node: NodeId) {
        let told = self.services.values_mut().filter(|told| told.from == Some(node));
        told.for_each(|told| told.from = None);
    }

    /// What was told of a Service port, where it still counts.
    pub fn told(&self, now: Moment, service: ServiceId) -> Option<&Told> {
        self.services.get(&service).filter(|told| told.counts_at(now))
    }

    /// True if anything was told of a Service port not long ago.
    pub fn has(&self, service: ServiceId) -> bool {
        self.services.contains_key(&service)
    }

    /// Service ports of which something new was told since this was asked last.
    pub fn news(&mut self) -> BTreeSet<ServiceId> {
        std::mem::take(&mut self.news)
    }

    /// Forgets what is too old or not named any more, and Service ports that this node does not
    /// know.
    pub fn forget(&mut self, now: Moment, is_known: impl Fn(ServiceId) -> bool) {
        let (backends, news) = (&mut self.backends, &mut self.news);
        self.services.retain(|id, told| {
            if told.at + pace::SILENT <= now || !is_known(*id) {
                *backends = backends.saturating_sub(told.counts.len());
                return false;
            }
            if told.looked != told.round {
                told.looked = told.round;
                let (round, before) = (told.round, told.counts.len());
                told.counts.retain(|_, (_, named)| !is_over(*named, round));
                if told.counts.len() != before {
                    *backends = backends.saturating_sub(before - told.counts.len());
                    news.insert(*id);
                }
            }
            true
        });
    }

    /// How old what still counts is on average; none where nothing does.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        let told = self.services.values().filter(|told| told.counts_at(now));
        let (count, sum) = told
            .map(|told| now.saturating_sub(told.at))
            .fold((0, Duration::ZERO), |(count, sum), age| (count + 1, sum + age));
        sum.checked_div(count)
    }
}

impl Told {
    fn new(now: Moment) -> Self {
        Self {
            counts: HashMap::new(),
            from: None,
            round: 0,
            looked: 0,
            named: (0, 0),
            is_whole: false,
            rate: 0,
            nodes: 0,
            at: now,
            interval: pace::BEAT,
        }
    }

    fn counts_at(&self, now: Moment) -> bool {
        self.is_whole && self.at + pace::FRESH > now
    }

    /// Connections of the others to a backend.
    pub fn others(&self, backend: &BackendAddr) -> u32 {
        self.counts.get(backend).map_or(0, |(count, _)| *count)
    }

    /// Backends that were named.
    pub fn backends(&self) -> impl Iterator<Item = &BackendAddr> {
        self.counts.keys()
    }
}

#[cfg(test)]
mod tests;
