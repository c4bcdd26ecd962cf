//! From a state of the source to the maps: desired, held, plan, apply.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    parted::Parted, pods::Pods, provider::Shared, stale::Stale, sweep::Sweeper, teller::Teller,
};
use crate::{
    apply::{self, apply},
    desired::{BackendAddr, Desired, desired, node_ports::NodePortAddresses},
    maps::{MapsError, ReadMaps as _, WriteMaps as _, pinned::PinnedMaps},
    model::{Problem, Protocol, State},
    plan::{
        held::Held,
        plan,
        rows::{self, RowId},
    },
};

/// How long after a failed write it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Owns the maps: everything that is written to them goes through here.
pub struct Reconciler {
    maps: PinnedMaps,
    node_ports: NodePortAddresses,
    desired: Desired,
    /// Whether there was a first state: before, what is desired is not known, and not nothing.
    begun: bool,
    /// Rows that an earlier agent left in the maps and that no state has shown yet.
    unsure: BTreeSet<RowId>,
    teller: Teller,
    retry_at: Option<Instant>,
    sweeper: Sweeper,
    pods: Pods,
    stale: Stale,
    parted: Parted,
}

impl Reconciler {
    /// Takes over the maps. An earlier agent may have died between giving something up and the
    /// grace after it.
    pub fn new(
        mut maps: PinnedMaps,
        node_ports: NodePortAddresses,
        pods: Pods,
        stale: Stale,
        parted: Parted,
    ) -> Result<Self, MapsError> {
        maps.grace();
        Ok(Self {
            unsure: Held::read(&maps)?.rows.into_keys().collect(),
            maps,
            node_ports,
            desired: Desired::default(),
            begun: false,
            teller: Teller::default(),
            retry_at: None,
            sweeper: Sweeper::default(),
            pods,
            stale,
            parted,
        })
    }

    /// Brings the maps to a new state.
    ///
    /// While the source may lack objects that an earlier agent knew, what that agent left stays,
    /// until it is seen: a broken file at the start must not end what works.
    pub fn reconcile(&mut self, state: &State, shared: &Shared) {
        self.desired = desired(state, &self.node_ports);
        self.begun = true;
        let rows = rows::rows(&self.desired);
        let seen = |id: &RowId| rows.get(id).is_some_and(|row| !row.backends.is_empty());
        self.unsure.retain(|id| state.missing && !seen(id));
        self.pods.changed(&self.desired);
        self.again(shared);
        if self.retry_at.is_none() {
            shared.written(&state.triggers);
        }
    }

    /// Waits until pods should be looked up again; for ever before the first state. Cancel-safe.
    pub async fn pods_due(&self) {
        if !self.begun {
            std::future::pending::<()>().await;
        }
        self.pods.due().await;
    }

    /// Looks the pods up again.
    pub fn look_for_pods(&mut self, shared: &Shared) {
        if self.pods.look(&self.desired) {
            self.again(shared);
        }
    }

    /// Tells what is in the way of a first state; the maps stay as they are.
    pub fn wait(&mut self, problems: &[Problem], shared: &Shared) {
        self.teller.tell(problems);
        shared.wait(problems);
    }

    /// Waits until something that failed should be tried again; for ever if nothing did.
    pub async fn retry(&self) {
        match self.retry_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Ends the charges of connections that never came to be.
    pub fn sweep(&mut self) {
        let now = Instant::now();
        let ended = self.sweeper.pass(&self.maps, now);
        if ended > 0 {
            tracing::debug!(ended, "charges of connections that failed inside connect()");
        }
        match self.parted.pass(&self.maps, now) {
            Ok(0) => {}
            Ok(ended) => tracing::debug!(ended, "charges of UDP sockets that are not connected"),
            Err(error) => {
                tracing::warn!("UDP sockets can't be listed: {error}; some may count until closed");
            }
        }
        self.end_stale();
    }

    /// Ends UDP sockets whose backend is gone.
    fn end_stale(&mut self) {
        let pass = self.stale.pass(&self.maps);
        if pass.ended > 0 {
            tracing::info!(sockets = pass.ended, "UDP sockets ended whose backend is gone");
        }
        for failed in pass.failed {
            tracing::warn!("{failed}; their programs wait for answers that won't come");
        }
    }

    /// Brings the maps to the state that was given last.
    pub fn again(&mut self, shared: &Shared) {
        let started = Instant::now();
        shared.announce(self.desired.clone());
        let mut problems = self.desired.problems.clone();
        problems.extend(self.pods.problem().cloned());
        let mut failed = apply::pods(&mut self.maps, self.pods.found());
        match Held::read(&self.maps) {
            Ok(held) => {
                let plan = plan(&held, &self.desired, self.maps.limits(), &self.unsure);
                let applied = apply(&mut self.maps, &plan);
                problems.extend(plan.problems);
                failed.extend(applied.problems);
                if self.unsure.is_empty() {
                    self.stale.set(gone(&held, &self.desired));
                    self.end_stale();
                }
                tracing::info!(
                    services = self.desired.ports.len(),
                    steps = plan.steps.len(),
                    writes = applied.writes,
                    micros = started.elapsed().as_micros() as u64,
                    "maps are up to date"
                );
            }
            Err(error) => failed.push(Problem {
                object: "maps".to_owned(),
                field: String::new(),
                message: format!("{error}; they stay as they are"),
            }),
        }
        let complete = failed.is_empty();
        self.retry_at = (!complete).then(|| Instant::now() + RETRY);
        problems.extend(failed);
        self.teller.tell(&problems);
        shared.settle(problems, complete);
    }
}

/// UDP backends that no Service has any more, ready or not.
fn gone(held: &Held, desired: &Desired) -> BTreeSet<u32> {
    let known: BTreeSet<_> = desired
        .ports
        .values()
        .flat_map(|port| port.backends.keys().chain(port.external.iter().flatten().map(|(b, _)| b)))
        .collect();
    let is_gone =
        |backend: &BackendAddr| backend.protocol == Protocol::Udp && !known.contains(backend);
    held.backends.iter().filter(|(backend, _)| is_gone(backend)).map(|(_, id)| *id).collect()
}
