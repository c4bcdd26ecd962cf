//! What nodes have reported, and the sums: the work of a steward.
//!
//! Totals are told to each node without its own connections, which it knows better: a node is the only
//! one that says what it has, and its own counter is exact and current.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use balancer_common::charge;

use super::{
    Moment,
    name::{NodeId, ServiceId},
    pace,
    wire::{Report, Totals},
};
use crate::desired::BackendAddr;

/// Rounds after which a backend that was not named any more has no connection.
const ROUNDS: u8 = 5;
/// Over which time opened connections are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Backends that one node may name at most, over all Service ports.
const MOST: usize = 1 << 17;

/// True once a backend was not named for so many rounds that it is no accident. Rounds are numbered
/// around and around; those that seem to lie ahead are late.
pub(super) fn is_over(named: u8, round: u8) -> bool {
    (ROUNDS..128).contains(&round.wrapping_sub(named))
}

/// What nodes have reported, by Service port.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<ServiceId, Account>,
    /// Service ports whose sums were not told since they changed.
    dirty: BTreeSet<ServiceId>,
    /// Backends that each node names.
    named: HashMap<NodeId, usize>,
}

#[derive(Debug, Default)]
struct Account {
    nodes: BTreeMap<NodeId, Reporter>,
    sums: BTreeMap<BackendAddr, Sum>,
    version: u64,
    /// What was told last, and when.
    told: u64,
    told_at: Option<Moment>,
}

#[derive(Debug, Default)]
struct Reporter {
    counts: HashMap<BackendAddr, (u32, u8)>,
    /// True if it has begun anew since, and its rounds with it.
    restarted: bool,
    /// When how many connections had been opened, one before the window at most.
    opened: VecDeque<(Moment, u32)>,
    at: Moment,
}

#[derive(Debug)]
struct Sum {
    total: u64,
    changed: Moment,
    /// The last change and whose it was, and the last change of another node before.
    last: (u64, NodeId),
    other: u64,
}

impl Ledger {
    /// Takes the report of a node.
    pub fn report(&mut self, now: Moment, from: NodeId, report: &Report) {
        let account = self.accounts.entry(report.service).or_default();
        let named = self.named.entry(from).or_default();
        let before = account.version;
        let reporter = account.nodes.entry(from).or_default();
        reporter.at = now;
        if std::mem::take(&mut reporter.restarted) {
            reporter.opened.clear();
            reporter.counts.values_mut().for_each(|(_, round)| *round = report.round);
        }
        reporter.opened(now, report.opened);
        for (backend, count) in &report.counts {
            // No node has more connections than its table has room for.
            let count = (*count).min(charge::MAX_CHARGES);
            let old = match reporter.counts.get(backend) {
                Some((old, _)) => *old,
                None if count == 0 || *named == MOST => continue,
                None => {
                    *named += 1;
                    0
                }
            };
            reporter.counts.insert(*backend, (count, report.round));
            account.version += u64::from(old != count);
            add(&mut account.sums, now, account.version, from, *backend, old, count);
        }
        let gone: Vec<_> = {
            let over = |(_, (_, round)): &(&_, &(u32, u8))| is_over(*round, report.round);
            reporter
                .counts
                .iter()
                .filter(over)
                .map(|(backend, (count, _))| (*backend, *count))
                .collect()
        };
        for (backend, count) in gone {
            reporter.counts.remove(&backend);
            *named -= 1;
            account.version += u64::from(count > 0);
            add(&mut account.sums, now, account.version, from, backend, count, 0);
        }
        if account.version != before {
            self.dirty.insert(report.service);
        }
    }

    /// Forgets what was reported by nodes that are gone, and by those that are silent for too long.
    pub fn forget(&mut self, now: Moment, is_gone: impl Fn(NodeId) -> bool) {
        for (service, account) in &mut self.accounts {
            let over = |id: &NodeId, reporter: &Reporter| {
                is_gone(*id) || reporter.at + pace::SILENT <= now
            };
            let gone: Vec<_> = {
                let nodes = account.nodes.iter();
                nodes.filter(|(id, reporter)| over(id, reporter)).map(|(id, _)| *id).collect()
            };
            for id in gone {
                let Some(reporter) = account.nodes.remove(&id) else { continue };
                if let Some(named) = self.named.get_mut(&id) {
                    *named = named.saturating_sub(reporter.counts.len());
                }
                for (backend, (count, _)) in reporter.counts {
                    account.version += u64::from(count > 0);
                    add(&mut account.sums, now, account.version, id, backend, count, 0);
                }
                self.dirty.insert(*service);
            }
            account.sums.retain(|_, sum| sum.total > 0 || sum.changed + pace::SILENT > now);
        }
        self.accounts.retain(|_, account| !account.nodes.is_empty() || !account.sums.is_empty());
        self.dirty.retain(|service| self.accounts.contains_key(service));
        self.named.retain(|_, named| *named > 0);
    }

    /// A node has begun anew. What it had stands until it has had the time to name it again.
    pub fn restarted(&mut self, node: NodeId) {
        let reporters =
            self.accounts.values_mut().filter_map(|account| account.nodes.get_mut(&node));
        reporters.for_each(|reporter| reporter.restarted = true);
    }

    /// Service ports whose sums were not told since they changed.
    pub fn dirty(&self) -> Vec<ServiceId> {
        self.dirty.iter().copied().collect()
    }

    /// Service ports of which something is known.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> {
        self.accounts.keys().copied()
    }

    /// When the sums of a Service port were told last.
    pub fn told_at(&self, service: ServiceId) -> Option<Moment> {
        self.accounts.get(&service)?.told_at
    }

    /// True if a node has reported a Service port, which it does if it dials it.
    pub fn uses(&self, service: ServiceId, node: NodeId) -> bool {
        self.accounts.get(&service).is_some_and(|account| account.nodes.contains_key(&node))
    }

    /// What all nodes but the addressee have: what has changed since it was told last, where that is
    /// not nothing, or all.
    pub fn totals(
        &self,
        now: Moment,
        service: ServiceId,
        to: NodeId,
        nodes: u16,
        all: bool,
    ) -> Option<Totals> {
        let account = self.accounts.get(&service)?;
        let own = account.nodes.get(&to).map(|reporter| &reporter.counts);
        let told = |sum: &Sum| {
            let (version, node) = sum.last;
            let version = if node == to { sum.other } else { version };
            version > account.told || (all && (sum.total > 0 || sum.changed + pace::HEARD > now))
        };
        let counts = account.sums.iter().filter(|(_, sum)| told(sum)).map(|(backend, sum)| {
            let own = own.and_then(|own| own.get(backend)).map_or(0, |(count, _)| *count);
            (*backend, u32::try_from(sum.total.saturating_sub(own.into())).unwrap_or(u32::MAX))
        });
        let counts: Vec<_> = counts.collect();
        if counts.is_empty() && !all {
            return None;
        }
        let others = account.nodes.iter().filter(|(id, _)| **id != to);
        let rate = others.map(|(_, reporter)| reporter.rate(now)).sum::<u64>();
        let rate = u32::try_from(rate).unwrap_or(u32::MAX);
        Some(Totals { service, round: 0, nodes, rate, counts })
    }

    /// The sums of a Service port have been told as they are now; `at` is none where nobody had to be.
    pub fn told(&mut self, at: Option<Moment>, service: ServiceId) {
        if let Some(account) = self.accounts.get_mut(&service) {
            (account.told, account.told_at) = (account.version, at.or(account.told_at));
        }
        self.dirty.remove(&service);
    }

    /// Backends of a Service port that there is something to tell of.
    pub fn backends(&self, service: ServiceId) -> usize {
        self.accounts.get(&service).map_or(0, |account| account.sums.len())
    }

    /// What one node has reported of all Service ports: connections, each counted once a Service port.
    pub fn reported(&self, node: NodeId) -> u64 {
        let reporters = self.accounts.values().filter_map(|account| account.nodes.get(&node));
        reporters.flat_map(|reporter| reporter.counts.values()).map(|(n, _)| u64::from(*n)).sum()
    }
}

fn add(
    sums: &mut BTreeMap<BackendAddr, Sum>,
    now: Moment,
    version: u64,
    from: NodeId,
    backend: BackendAddr,
    old: u32,
    new: u32,
) {
    if old == new {
        return;
    }
    let first = Sum { total: 0, changed: now, last: (0, from), other: 0 };
    let sum = sums.entry(backend).or_insert(first);
    sum.total = sum.total.saturating_sub(old.into()) + u64::from(new);
    sum.changed = now;
    if sum.last.1 != from {
        sum.other = sum.last.0;
    }
    sum.last = (version, from);
}

impl Reporter {
    fn opened(&mut self, now: Moment, opened: u32) {
        while self.opened.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.opened.pop_front();
        }
        match self.opened.back_mut() {
            Some((at, last)) if *at == now || *last == opened => *last = opened,
            _ => self.opened.push_back((now, opened)),
        }
    }

    /// Connections opened within the window, in 1,000 s.
    fn rate(&self, now: Moment) -> u64 {
        let before = self.opened.iter().rev().find(|(at, _)| *at + WINDOW <= now);
        let Some((_, first)) = before.or(self.opened.front()) else { return 0 };
        let last = self.opened.back().map_or(*first, |(_, last)| *last);
        u64::from(last.wrapping_sub(*first).min(1 << 20)) * 1_000
    }
}

#[cfg(test)]
mod tests;
