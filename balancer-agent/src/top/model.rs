//! From looks to what is shown. Pure: time is what each look says.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::{
    port::PortKey,
    rates::{Look, Rates},
};
use crate::view::{BackendView, ServiceView, TopBackendView, TopServiceView, TopView};

/// For how many looks the connections of a backend are remembered.
const TREND: usize = 60;
/// Over which time moves are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// What was seen of Services at one time.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When: any clock that does not go back.
    pub at: Duration,
    /// When by the calendar, as RFC 3339.
    pub time: String,
    /// The Service ports.
    pub services: Vec<ServiceView>,
}

/// Totals of a backend at the last sample.
#[derive(Clone, Copy, Debug)]
struct Totals {
    opened: u64,
    failed: u64,
    active: u64,
}

/// Everything that is remembered of samples.
#[derive(Debug, Default)]
pub struct Model {
    last: Option<Duration>,
    totals: BTreeMap<(PortKey, SocketAddr), Totals>,
    trends: BTreeMap<(PortKey, SocketAddr), VecDeque<u64>>,
    /// Moves of each Service so far, within the last minute.
    moves: BTreeMap<(String, String), VecDeque<(Duration, u64)>>,
    rates: Rates,
    view: TopView,
}

impl Model {
    /// Takes a sample, and a look at connections where there was one beside it.
    pub fn take(&mut self, sample: Sample, look: Option<Look>) {
        if let Some(look) = look {
            self.rates.take(look);
        }
        let Sample { at, time, services } = sample;
        let elapsed = self.last.map(|last| at.saturating_sub(last)).filter(|e| !e.is_zero());
        self.note_moves(at, &services);
        let before = std::mem::take(&mut self.totals);
        let rows: Vec<_> =
            services.into_iter().map(|service| self.row(service, elapsed, &before)).collect();
        self.trends.retain(|key, _| self.totals.contains_key(key));
        self.view = TopView {
            time,
            elapsed_ms: elapsed.map(|elapsed| elapsed.as_millis() as u64),
            sampled: self.rates.is_sampled(),
            services: rows,
        };
        self.last = Some(at);
    }

    /// What is shown.
    pub const fn view(&self) -> &TopView {
        &self.view
    }

    /// What is known of connections.
    pub const fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Connections of a backend at the last samples, the latest last.
    pub fn trend(&self, port: &PortKey, backend: SocketAddr) -> impl Iterator<Item = u64> {
        self.trends.get(&(port.clone(), backend)).into_iter().flatten().copied()
    }

    fn note_moves(&mut self, at: Duration, services: &[ServiceView]) {
        let known = |service: &ServiceView| {
            let total = service.moved_total?;
            Some(((service.namespace.clone(), service.name.clone()), total))
        };
        let now: BTreeMap<_, _> = services.iter().filter_map(known).collect();
        self.moves.retain(|service, _| now.contains_key(service));
        for (service, total) in now {
            let seen = self.moves.entry(service).or_default();
            // An agent that was started anew counts from 0.
            if seen.back().is_some_and(|(_, last)| *last > total) {
                seen.clear();
            }
            seen.push_back((at, total));
            while seen.front().is_some_and(|(then, _)| at.saturating_sub(*then) > MINUTE) {
                seen.pop_front();
            }
        }
    }

    fn row(
        &mut self,
        service: ServiceView,
        elapsed: Option<Duration>,
        before: &BTreeMap<(PortKey, SocketAddr), Totals>,
    ) -> TopServiceView {
        let key = PortKey::new(&service.namespace, &service.name, &service.port);
        let cluster_active = service.cluster_active();
        let ServiceView { namespace, name, port, policy, backends, .. } = service;
        let moved = self.moves.get(&(namespace.clone(), name.clone()));
        let moved = moved.and_then(|seen| Some(seen.back()?.1 - seen.front()?.1));
        let rows: Vec<_> =
            backends.into_iter().map(|found| self.backend(&key, found, elapsed, before)).collect();
        let sum = |of: fn(&TopBackendView) -> Option<f64>| {
            let known: Vec<_> = rows.iter().filter_map(of).collect();
            (!known.is_empty()).then(|| rounded(known.iter().sum()))
        };
        let usable: Vec<_> = rows.iter().filter(|row| row.state.is_usable()).collect();
        let counts: Vec<_> = usable.iter().map(|row| (count(row), row.weight)).collect();
        let rates: Option<Vec<_>> =
            usable.iter().map(|row| Some((row.rate?, row.weight))).collect();
        TopServiceView {
            namespace,
            service: name,
            service_port: port,
            policy,
            connections: rows.iter().map(|row| row.connections).sum(),
            cluster_active,
            opened_per_s: sum(|row| row.opened_per_s),
            closed_per_s: sum(|row| row.closed_per_s),
            failed_per_s: sum(|row| row.failed_per_s),
            usable: usable.len() as u64,
            least: counts.iter().map(|(count, _)| *count).min(),
            most: counts.iter().map(|(count, _)| *count).max(),
            skew: skew(counts.iter().map(|(count, weight)| (*count as f64, *weight))),
            moved,
            rate: sum(|row| row.rate),
            rate_skew: rates.and_then(|rates| skew(rates.into_iter())),
            backends: rows,
        }
    }

    fn backend(
        &mut self,
        port: &PortKey,
        found: BackendView,
        elapsed: Option<Duration>,
        before: &BTreeMap<(PortKey, SocketAddr), Totals>,
    ) -> TopBackendView {
        let address = SocketAddr::from((found.address, found.port));
        let key = (port.clone(), address);
        let now = Totals {
            opened: found.opened_total,
            failed: found.failed_total,
            active: found.active.into(),
        };
        let trend = self.trends.entry(key.clone()).or_default();
        trend.push_back(now.active);
        while trend.len() > TREND {
            trend.pop_front();
        }
        let last = before.get(&key).copied();
        let per_second = |of: fn(Totals, Totals) -> u64| {
            Some(rounded(of(last?, now) as f64 / elapsed?.as_secs_f64()))
        };
        let rate = self.rates.of(port, address, now.active).map(rounded);
        self.totals.insert(key, now);
        TopBackendView {
            address: found.address,
            port: found.port,
            node: found.node,
            state: found.state,
            weight: found.weight,
            connections: now.active,
            cluster_active: found.cluster_active,
            opened_per_s: per_second(|last, now| now.opened.saturating_sub(last.opened)),
            closed_per_s: per_second(closed),
            failed_per_s: per_second(|last, now| now.failed.saturating_sub(last.failed)),
            rate,
        }
    }
}

/// What was opened and is neither open nor failed.
fn closed(last: Totals, now: Totals) -> u64 {
    let was_open = last.active.saturating_add(now.opened.saturating_sub(last.opened));
    was_open.saturating_sub(now.active).saturating_sub(now.failed.saturating_sub(last.failed))
}

/// Connections by which backends are compared.
fn count(row: &TopBackendView) -> u64 {
    row.cluster_active.unwrap_or(row.connections)
}

/// The most per weight, over the mean per weight.
fn skew(loads: impl Iterator<Item = (f64, u16)>) -> Option<f64> {
    let (mut most, mut load, mut weight) = (0.0_f64, 0.0, 0.0);
    for (each, share) in loads {
        let share = f64::from(share.max(1));
        most = most.max(each / share);
        load += each;
        weight += share;
    }
    (load > 0.0).then(|| rounded(most * weight / load))
}

/// To hundredths.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
