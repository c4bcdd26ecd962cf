//! Whether balancing works: looked at and tried, again and again, beside the loop of the agent.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch::Receiver, time::MissedTickBehavior};

use super::{selftest::SelfTest, shared::Shared};
use crate::{
    kernel::{damage::Broken, guard::Guard},
    node::cgroup::{self, Kind},
    view::{BalancingState, BalancingView},
};

/// Time between two looks at links and pins: what was taken away is back within a second.
const INTERVAL: Duration = Duration::from_millis(500);
/// Time between two connections.
const TEST_INTERVAL: Duration = Duration::from_secs(2);

/// What is needed to tell.
pub struct Watchdog {
    guard: Guard,
    test: SelfTest,
    tested: Option<Instant>,
    last: BalancingView,
    /// What is said of balancing that works.
    reach: String,
}

impl Watchdog {
    /// Begins with what was just put in place.
    pub fn new(guard: Guard, test: SelfTest) -> Self {
        let last = BalancingView {
            state: BalancingState::Untested,
            detail: String::new(),
            tests_total: 0,
            mended_total: 0,
        };
        let reach = reach(guard.cgroup());
        Self { guard, test, tested: None, last, reach }
    }

    /// Looks and tests until `stop` turns true.
    pub async fn watch(mut self, shared: Arc<Shared>, mut stop: Receiver<bool>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            tokio::task::block_in_place(|| self.look(&shared));
        }
    }

    /// One look, with a connection where it is time for one or something has changed.
    pub fn look(&mut self, shared: &Shared) {
        let look = self.guard.look();
        for mended in &look.mended {
            tracing::warn!("{mended}: put back");
        }
        let due = self.tested.is_none_or(|at| at.elapsed() >= TEST_INTERVAL);
        let changed = !look.mended.is_empty() || !look.broken.is_empty();
        let is_well = self.last.state == BalancingState::Works;
        if !due && !changed && is_well {
            return;
        }
        self.tested = Some(Instant::now());
        let (state, detail) = self.judge(&look.broken);
        let now = BalancingView {
            state,
            detail,
            tests_total: self.last.tests_total + 1,
            mended_total: self.last.mended_total + look.mended.len() as u64,
        };
        self.tell(&now);
        shared.tell_balancing(now.clone());
        self.last = now;
    }

    fn judge(&mut self, broken: &[Broken]) -> (BalancingState, String) {
        let tested = self.test.run();
        if !broken.is_empty() {
            return (BalancingState::Broken, summary(broken));
        }
        let cgroup = self.guard.cgroup();
        match (tested, cgroup::contains_self(cgroup)) {
            (Ok(()), _) => (BalancingState::Works, self.reach.clone()),
            (Err(_), Some(false)) => (
                BalancingState::Untested,
                format!(
                    "the agent runs outside of {}, so that its own connections are not led; links \
                     and pins are there",
                    cgroup.display()
                ),
            ),
            (Err(failure), _) => (BalancingState::Broken, failure.to_string()),
        }
    }

    fn tell(&self, now: &BalancingView) {
        if (now.state, &now.detail) == (self.last.state, &self.last.detail) {
            return;
        }
        match now.state {
            BalancingState::Works => tracing::info!("balancing works: {}", now.detail),
            BalancingState::Untested => tracing::warn!("balancing can't be tested: {}", now.detail),
            BalancingState::Broken => tracing::error!("balancing does not work: {}", now.detail),
        }
    }
}

/// The first of all that is wrong, which often is the same for all.
fn summary(broken: &[Broken]) -> String {
    match broken {
        [first, rest @ ..] if !rest.is_empty() => format!("{first}; and {} more", rest.len()),
        _ => broken.iter().map(ToString::to_string).collect(),
    }
}

/// Whose connections are balanced: of the whole node only at the root.
fn reach(cgroup: &Path) -> String {
    if cgroup::kind(cgroup) == Kind::Root {
        return "seen by a connection of the agent's own".to_owned();
    }
    let reach = format!(
        "seen by a connection of the agent's own, for processes below {} alone: it is not the root",
        cgroup.display()
    );
    tracing::warn!("only processes below {} are balanced: it is not the root", cgroup.display());
    reach
}
