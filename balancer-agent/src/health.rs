//! Whether the agent does its work: what kubelet and load balancers are told.
//!
//! The loop of the agent tells [`Health`] what it does; [`probes`] and [`node_ports`] answer from
//! that alone, so that a probe costs no look into the maps.

pub mod node_ports;
pub mod probes;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    desired::{Desired, health_checks::HealthChecks},
    view::BalancingState,
};

/// How long something may wait for being written, or one piece of work may take. kube-proxy allows
/// twice its sync period of 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the loop has told of itself.
#[derive(Debug, Default)]
pub struct Health {
    progress: Mutex<Progress>,
    checks: watch::Sender<Arc<HealthChecks>>,
}

#[derive(Debug, Default)]
struct Progress {
    ready: bool,
    balancing: Option<BalancingState>,
    node_leaving: bool,
    /// When the maps had everything last.
    updated: Option<Timestamp>,
    /// Since when something could not be written.
    behind_since: Option<Instant>,
    /// Since when the loop is at one piece of work.
    working_since: Option<Instant>,
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first complete state is in the maps.
    pub ready: bool,
    /// Whether balancing was seen to work, if it was looked at.
    pub balancing: Option<BalancingState>,
    /// The loop runs, and the maps follow. Also true of an agent that still waits for its first
    /// state, as in kube-proxy: restarting it would not bring the state.
    pub keeps_up: bool,
    /// New connections from outside may come to this node.
    pub node_eligible: bool,
    /// When the maps had everything last.
    pub updated: Option<Timestamp>,
}

impl Health {
    /// A piece of work begins; it ends when what is returned is dropped.
    pub fn work(&self) -> Work<'_> {
        self.progress().working_since = Some(Instant::now());
        Work(self)
    }

    /// Takes what is about to be written.
    pub fn know(&self, desired: &Desired) {
        self.progress().node_leaving = desired.node_leaving;
        self.checks.send_if_modified(|checks| {
            let is_new = **checks != desired.health_checks;
            if is_new {
                *checks = Arc::new(desired.health_checks.clone());
            }
            is_new
        });
    }

    /// Takes whether balancing works.
    pub fn balances(&self, state: BalancingState) {
        self.progress().balancing = Some(state);
    }

    /// A state was written, completely or not.
    pub fn written(&self, completely: bool) {
        let mut progress = self.progress();
        progress.ready = true;
        if completely {
            progress.updated = Some(Timestamp::now());
            progress.behind_since = None;
        } else {
            progress.behind_since.get_or_insert_with(Instant::now);
        }
    }

    /// How things stand.
    pub fn report(&self) -> Report {
        self.progress().report(Instant::now())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn report(&self, now: Instant) -> Report {
        let lasts = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
        Report {
            ready: self.ready,
            balancing: self.balancing,
            keeps_up: ![self.behind_since, self.working_since].into_iter().flatten().any(lasts),
            node_eligible: !self.node_leaving,
            updated: self.updated,
        }
    }
}

/// A piece of work, until it is dropped.
#[derive(Debug)]
pub struct Work<'a>(&'a Health);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.progress().working_since = None;
    }
}

#[cfg(test)]
mod tests;
