//! What this node was told of the others.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Moment,
    ledger::is_over,
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
}

/// What this node was told of a Service port.
#[derive(Debug)]
pub struct Told {
    counts: HashMap<BackendAddr, (u32, u8)>,
    /// Who told it; none if it has begun anew since, and its rounds with it.
    from: Option<NodeId>,
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
    /// Takes totals of a steward. Where it hears fewer nodes than the `heard` that this node does, what
    /// was told before stands until it is too old: that steward has just begun, or is cut off.
    pub fn take(&mut self, now: Moment, from: NodeId, totals: &Totals, heard: usize) {
        let is_whole = usize::from(totals.nodes) >= heard;
        let told = self.services.entry(totals.service).or_insert_with(|| Told::new(now));
        if !is_whole && told.at + pace::FRESH > now && told.nodes > totals.nodes {
            return;
        }
        let passed = now.saturating_sub(told.at);
        if passed >= TOGETHER {
            let passed = passed.clamp(pace::GAP, pace::FRESH);
            told.interval = (told.interval * 3 + passed) / 4;
        }
        if told.from.replace(from) != Some(from) {
            told.counts.values_mut().for_each(|(_, round)| *round = totals.round);
        }
        (told.at, told.nodes, told.rate) = (now, totals.nodes, totals.rate);
        for (backend, count) in &totals.counts {
            told.counts.insert(*backend, (*count, totals.round));
        }
        told.counts.retain(|_, (_, round)| !is_over(*round, totals.round));
        self.news.insert(totals.service);
    }

    /// A node has begun anew. What it told stands until it has had the time to name it again.
    pub fn restarted(&mut self, node: NodeId) {
        let told = self.services.values_mut().filter(|told| told.from == Some(node));
        told.for_each(|told| told.from = None);
    }

    /// What was told of a Service port, where it still counts.
    pub fn told(&self, now: Moment, service: ServiceId) -> Option<&Told> {
        self.services.get(&service).filter(|told| told.at + pace::FRESH > now)
    }

    /// Service ports of which something new was told since this was asked last.
    pub fn news(&mut self) -> BTreeSet<ServiceId> {
        std::mem::take(&mut self.news)
    }

    /// Forgets what is too old, and Service ports that this node does not know.
    pub fn forget(&mut self, now: Moment, is_known: impl Fn(ServiceId) -> bool) {
        self.services.retain(|id, told| told.at + pace::SILENT > now && is_known(*id));
    }

    /// How old what still counts is on average; none where nothing does.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        let ages = self.services.values().map(|told| now.saturating_sub(told.at));
        let (count, sum) = ages
            .filter(|age| *age < pace::FRESH)
            .fold((0, Duration::ZERO), |(count, sum), age| (count + 1, sum + age));
        sum.checked_div(count)
    }
}

impl Told {
    fn new(now: Moment) -> Self {
        let counts = HashMap::new();
        Self { counts, from: None, rate: 0, nodes: 0, at: now, interval: pace::BEAT }
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
mod tests {
    use super::*;
    use crate::model::Protocol;

    const WEB: ServiceId = ServiceId(1);
    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn at(ms: u64) -> Moment {
        Duration::from_millis(ms)
    }

    fn addr(id: u8) -> BackendAddr {
        BackendAddr::new(([10, 0, 0, id], 80).into(), Protocol::Tcp)
    }

    fn totals(nodes: u16, round: u8, counts: &[(u8, u32)]) -> Totals {
        let counts = counts.iter().map(|(id, count)| (addr(*id), *count)).collect();
        Totals { service: WEB, round, nodes, rate: 0, counts }
    }

    fn others(known: &Known, ms: u64, id: u8) -> Option<u32> {
        known.told(at(ms), WEB).map(|told| told.others(&addr(id)))
    }

    #[test]
    fn what_was_told_counts_for_three_seconds() {
        let mut known = Known::default();
        known.take(at(0), ONE, &totals(2, 0, &[(1, 4)]), 2);
        assert_eq!(others(&known, 2_999, 1), Some(4));
        assert_eq!(others(&known, 0, 2), Some(0));
        assert_eq!(others(&known, 3_000, 1), None);
        assert_eq!(known.news(), [WEB].into());
        assert_eq!(known.news(), [].into());
        // Whatever it says, a word says that the rest is as it was.
        known.take(at(2_000), ONE, &totals(2, 1, &[]), 2);
        assert_eq!(others(&known, 4_000, 1), Some(4));
        assert_eq!(known.age(at(2_500)), Some(at(500)));
        for round in 2..6 {
            known.take(at(3_000), ONE, &totals(2, round, &[]), 2);
        }
        assert_eq!(others(&known, 4_000, 1), Some(0));
    }

    #[test]
    fn a_steward_that_hears_fewer_changes_nothing_while_the_old_word_counts() {
        let mut known = Known::default();
        known.take(at(0), ONE, &totals(7, 0, &[(1, 4)]), 7);
        known.take(at(1_000), ONE, &totals(2, 0, &[(1, 1)]), 7);
        assert_eq!(others(&known, 1_000, 1), Some(4));
        // Nobody says more until it is too old: this is what there is.
        known.take(at(3_000), ONE, &totals(2, 0, &[(1, 1)]), 7);
        assert_eq!(others(&known, 3_000, 1), Some(1));
        known.take(at(3_500), ONE, &totals(2, 0, &[(1, 2)]), 7);
        assert_eq!(others(&known, 3_500, 1), Some(2));
        // A node is gone for all.
        known.take(at(4_000), ONE, &totals(7, 0, &[(1, 9)]), 7);
        known.take(at(4_100), ONE, &totals(6, 0, &[(1, 8)]), 6);
        assert_eq!(others(&known, 4_100, 1), Some(8));
    }

    #[test]
    fn another_steward_numbers_its_rounds_by_itself() {
        let mut known = Known::default();
        known.take(at(0), ONE, &totals(2, 100, &[(1, 4), (2, 1)]), 2);
        for (round, want) in [(7, 4), (11, 4), (12, 0)] {
            known.take(at(100), TWO, &totals(2, round, &[(2, 1)]), 2);
            assert_eq!(others(&known, 100, 1), Some(want), "round {round}");
        }
        known.restarted(TWO);
        known.take(at(100), TWO, &totals(2, 60, &[]), 2);
        assert_eq!(others(&known, 100, 2), Some(1));
    }

    #[test]
    fn the_interval_is_learned() {
        let mut known = Known::default();
        for word in 0..20 {
            known.take(at(word * 250), ONE, &totals(2, 0, &[]), 2);
            known.take(at(word * 250), ONE, &totals(2, 0, &[]), 2);
        }
        let interval = known.told(at(19 * 250), WEB).unwrap().interval;
        assert!(interval < at(260), "{interval:?}");
    }
}
