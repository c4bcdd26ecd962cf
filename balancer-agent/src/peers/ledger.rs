//! What nodes have reported, and the sums: the work of a steward.
//!
//! Totals are told to each node without its own connections, which it knows better: a node is the
//! only one that says what it has, and its own counter is exact and current.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, btree_map::Entry},
    time::Duration,
};

use balancer_common::{charge, layout::MAX_BACKENDS};

use super::{
    Moment,
    name::{NodeId, ServiceId},
    pace,
    wire::{Report, Totals, bytes_of},
};
use crate::desired::BackendAddr;

/// Over which time opened connections are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Backends that one node may name at most, over all Service ports: as many as there can be.
pub(super) const MOST: usize = MAX_BACKENDS as usize;

/// True once a backend was not named for so many rounds that it is no accident. Rounds are numbered
/// around and around; those that seem to lie ahead are late.
pub(super) fn is_over(named: u8, round: u8) -> bool {
    (pace::ROUNDS..128).contains(&round.wrapping_sub(named))
}

/// What nodes have reported, by Service port.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<ServiceId, Account>,
    /// Service ports whose sums were not told since they changed.
    dirty: BTreeSet<ServiceId>,
    /// Backends that are kept for each node: those that it names, and those without a connection
    /// whose last one was its own.
    kept: HashMap<NodeId, usize>,
}

#[derive(Debug, Default)]
struct Account {
    nodes: BTreeMap<NodeId, Reporter>,
    sums: BTreeMap<BackendAddr, Sum>,
    version: u64,
    /// What was told last, and when.
    told: u64,
    told_at: Option<Moment>,
    /// What all nodes open in 1,000 s, as it was summed last.
    rate: (Moment, u64),
}

#[derive(Debug, Default)]
struct Reporter {
    counts: HashMap<BackendAddr, (u32, u8)>,
    /// Its round, and the one in which it was last looked for what it does not name any more.
    round: u8,
    looked: u8,
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
        let before = account.version;
        let reporter = account.nodes.entry(from).or_default();
        reporter.at = now;
        if std::mem::take(&mut reporter.restarted) {
            reporter.opened.clear();
            let earlier = report.round.wrapping_sub(1);
            reporter.counts.values_mut().for_each(|(_, round)| *round = earlier);
        }
        reporter.round = report.round;
        reporter.opened(now, report.opened);
        for (backend, count) in &report.counts {
            // No node has more connections than its table has room for.
            let count = (*count).min(charge::MAX_CHARGES);
            let kept = self.kept.entry(from).or_default();
            let old = match reporter.counts.get(backend) {
                Some((old, _)) => *old,
                None if count == 0 || *kept >= MOST => continue,
                None => {
                    *kept += 1;
                    0
                }
            };
            reporter.counts.insert(*backend, (count, report.round));
            if old != count {
                account.version += 1;
                let change = Change { now, version: account.version, from, old, new: count };
                change.add(&mut account.sums, &mut self.kept, *backend);
            }
        }
        if account.version != before {
            self.dirty.insert(report.service);
        }
    }

    /// A node has named all that it has to a Service port in this round: what else it had is gone.
    pub fn forget_unnamed(&mut self, now: Moment, from: NodeId, service: ServiceId) {
        let Some(account) = self.accounts.get_mut(&service) else { return };
        let Some(reporter) = account.nodes.get_mut(&from) else { return };
        let this = reporter.round;
        let gone = reporter.counts.extract_if(|_, (_, round)| *round != this);
        let gone: Vec<_> = gone.map(|(backend, (count, _))| (backend, count)).collect();
        let before = account.version;
        account.release(now, from, gone, &mut self.kept);
        if account.version != before {
            self.dirty.insert(service);
        }
    }

    /// A node that has begun anew has reported all that it has: what it had before of Service ports
    /// that it has not reported since is gone.
    pub fn forget_earlier(&mut self, now: Moment, from: NodeId) {
        for (service, account) in &mut self.accounts {
            let Entry::Occupied(node) = account.nodes.entry(from) else { continue };
            if !node.get().restarted {
                continue;
            }
            let counts = node.remove().counts;
            let gone = counts.into_iter().map(|(backend, (count, _))| (backend, count)).collect();
            let before = account.version;
            account.release(now, from, gone, &mut self.kept);
            if account.version != before {
                self.dirty.insert(*service);
            }
        }
    }

    /// Forgets what nodes do not name any more, and all of those that are silent for too long.
    /// `named` is how long a backend without a connection is named where it takes so many bytes to
    /// repeat all.
    pub fn forget(&mut self, now: Moment, named: impl Fn(usize) -> Duration) {
        for (service, account) in &mut self.accounts {
            let before = account.version;
            let mut all_gone = Vec::new();
            account.nodes.retain(|id, reporter| {
                let stays = reporter.at + pace::SILENT > now;
                if !stays || reporter.looked != reporter.round {
                    reporter.looked = reporter.round;
                    let round = reporter.round;
                    let over = |named| !stays || is_over(named, round);
                    let over = reporter.counts.extract_if(|_, (_, named)| over(*named));
                    let gone: Vec<_> = over.map(|(backend, (count, _))| (backend, count)).collect();
                    all_gone.push((*id, gone));
                }
                stays
            });
            for (from, gone) in all_gone {
                account.release(now, from, gone, &mut self.kept);
            }
            if account.version != before {
                self.dirty.insert(*service);
            }
            let named = named(account.bytes());
            account.sums.retain(|_, sum| {
                let stays = sum.total > 0 || sum.changed + named > now;
                if !stays {
                    release(&mut self.kept, sum.last.1);
                }
                stays
            });
        }
        self.accounts.retain(|_, account| !account.nodes.is_empty() || !account.sums.is_empty());
        self.dirty.retain(|service| self.accounts.contains_key(service));
        self.kept.retain(|_, kept| *kept > 0);
    }

    /// This node is the steward of a Service port from now on, and has told nobody anything.
    pub fn begin(&mut self, service: ServiceId) {
        if let Some(account) = self.accounts.get_mut(&service) {
            (account.told, account.told_at) = (0, None);
            self.dirty.insert(service);
        }
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

    /// True if any of these nodes has reported a connection to a Service port.
    pub fn has_any(&self, service: ServiceId, which: impl Fn(NodeId) -> bool) -> bool {
        let has = |reporter: &Reporter| reporter.counts.values().any(|(count, _)| *count > 0);
        let nodes = self.accounts.get(&service).into_iter().flat_map(|account| &account.nodes);
        nodes.filter(|(node, _)| which(**node)).any(|(_, reporter)| has(reporter))
    }

    /// What all nodes but the addressee have: what has changed since it was told last, where that
    /// is not nothing, or all, and then for so long also what has no connection any more.
    pub fn totals(
        &mut self,
        now: Moment,
        service: ServiceId,
        to: NodeId,
        nodes: u16,
        all: Option<Duration>,
    ) -> Option<Totals> {
        let account = self.accounts.get_mut(&service)?;
        let own = account.nodes.get(&to).map(|reporter| &reporter.counts);
        let told = |sum: &Sum| {
            let (version, node) = sum.last;
            let version = if node == to { sum.other } else { version };
            version > account.told
                || all.is_some_and(|named| sum.total > 0 || sum.changed + named > now)
        };
        let counts = account.sums.iter().filter(|(_, sum)| told(sum)).map(|(backend, sum)| {
            let own = own.and_then(|own| own.get(backend)).map_or(0, |(count, _)| *count);
            (*backend, u32::try_from(sum.total.saturating_sub(own.into())).unwrap_or(u32::MAX))
        });
        let counts: Vec<_> = counts.collect();
        if counts.is_empty() && all.is_none() {
            return None;
        }
        let all = all.map(|_| u16::try_from(counts.len()).unwrap_or(u16::MAX));
        Some(Totals { service, round: 0, nodes, rate: account.rate(now, to), all, counts })
    }

    /// Connections that all nodes but one open to a Service port in 1,000 s.
    pub fn rate(&mut self, now: Moment, service: ServiceId, but: NodeId) -> u32 {
        self.accounts.get_mut(&service).map_or(0, |account| account.rate(now, but))
    }

    /// The sums of a Service port have been told as they are now; `at` is none where nobody had to
    /// be.
    pub fn told(&mut self, at: Option<Moment>, service: ServiceId) {
        if let Some(account) = self.accounts.get_mut(&service) {
            (account.told, account.told_at) = (account.version, at.or(account.told_at));
        }
        self.dirty.remove(&service);
    }

    /// Bytes that it takes to repeat the totals of a Service port in full.
    pub fn bytes(&self, service: ServiceId) -> usize {
        self.accounts.get(&service).map_or(0, Account::bytes)
    }

    /// What all nodes have to a backend of a Service port.
    pub fn total(&self, service: ServiceId, backend: &BackendAddr) -> u64 {
        let sums = self.accounts.get(&service).map(|account| &account.sums);
        sums.and_then(|sums| sums.get(backend)).map_or(0, |sum| sum.total)
    }

    /// What each node has reported of backends of a Service port, in this order.
    pub fn held(&self, service: ServiceId, backends: &[BackendAddr]) -> BTreeMap<NodeId, Vec<u32>> {
        let nodes = self.accounts.get(&service).into_iter().flat_map(|account| &account.nodes);
        let held = |(node, reporter): (&NodeId, &Reporter)| {
            let count = |backend| reporter.counts.get(backend).map_or(0, |(count, _)| *count);
            (*node, backends.iter().map(count).collect())
        };
        nodes.map(held).collect()
    }

    /// What each node has reported of all Service ports: connections, each counted once a Service
    /// port.
    pub fn reported(&self) -> HashMap<NodeId, u64> {
        let mut reported: HashMap<NodeId, u64> = HashMap::new();
        for (node, reporter) in self.accounts.values().flat_map(|account| &account.nodes) {
            let counts = reporter.counts.values().map(|(count, _)| u64::from(*count));
            *reported.entry(*node).or_default() += counts.sum::<u64>();
        }
        reported
    }
}

/// A node has another number of connections to a backend.
struct Change {
    now: Moment,
    version: u64,
    from: NodeId,
    old: u32,
    new: u32,
}

impl Change {
    fn add(
        self,
        sums: &mut BTreeMap<BackendAddr, Sum>,
        kept: &mut HashMap<NodeId, usize>,
        backend: BackendAddr,
    ) {
        let Self { now, version, from, old, new } = self;
        let sum = match sums.entry(backend) {
            Entry::Occupied(known) => {
                let sum = known.into_mut();
                if sum.total == 0 {
                    release(kept, sum.last.1);
                }
                sum
            }
            Entry::Vacant(free) => {
                free.insert(Sum { total: 0, changed: now, last: (0, from), other: 0 })
            }
        };
        sum.total = sum.total.saturating_sub(old.into()) + u64::from(new);
        sum.changed = now;
        if sum.last.1 != from {
            sum.other = sum.last.0;
        }
        sum.last = (version, from);
        if sum.total == 0 {
            *kept.entry(from).or_default() += 1;
        }
    }
}

/// A backend is kept for a node no longer.
fn release(kept: &mut HashMap<NodeId, usize>, node: NodeId) {
    if let Some(kept) = kept.get_mut(&node) {
        *kept = kept.saturating_sub(1);
    }
}

impl Account {
    /// A node has no connections any more to backends to which it had so many.
    fn release(
        &mut self,
        now: Moment,
        from: NodeId,
        gone: Vec<(BackendAddr, u32)>,
        kept: &mut HashMap<NodeId, usize>,
    ) {
        if let Some(kept) = kept.get_mut(&from) {
            *kept = kept.saturating_sub(gone.len());
        }
        for (backend, old) in gone.into_iter().filter(|(_, old)| *old > 0) {
            self.version += 1;
            let change = Change { now, version: self.version, from, old, new: 0 };
            change.add(&mut self.sums, kept, backend);
        }
    }

    /// Bytes that the totals take. All backends of a Service port are of one family.
    fn bytes(&self) -> usize {
        let first = self.sums.first_key_value();
        bytes_of(self.sums.len(), first.is_some_and(|(backend, _)| backend.addr().is_ipv6()))
    }

    /// Connections that all nodes but one open in 1,000 s.
    fn rate(&mut self, now: Moment, but: NodeId) -> u32 {
        if self.rate.0 != now || now == Moment::ZERO {
            self.rate = (now, self.nodes.values().map(|reporter| reporter.rate(now)).sum());
        }
        let own = self.nodes.get(&but).map_or(0, |reporter| reporter.rate(now));
        u32::try_from(self.rate.1.saturating_sub(own)).unwrap_or(u32::MAX)
    }
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
