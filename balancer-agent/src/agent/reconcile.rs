//! From a state of the source to the maps: desired, plan, apply.

pub mod audit;
mod sums;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use balancer_common::charge;

use super::{
    grace_periods::GracePeriods, handover::Look, moving::Drained, pods::Pods,
    problem_log::ProblemLog, provider::Shared, sweep::Sweeper,
};
use crate::{
    apply,
    desired::{Desired, PortId, desired, node_ports::NodePortAddresses},
    maps::{
        Charges as _, Connected, MapsError, ReadMaps, WriteMaps as _, convert,
        identity::{RowId, Scope},
        pinned::PinnedMaps,
    },
    model::{Changes, Parts, Problem, Protocol, State},
    plan::{
        book::{Book, Epoch},
        rows::rows,
    },
    source::Kind,
};
use audit::Audit;
use sums::{Sums, Written};
use writing::{Done, Wanted};

/// How long after a failed write it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Owns the maps: everything that is written to them goes through here.
pub struct Reconciler {
    maps: PinnedMaps,
    /// What they hold; none where a write has failed since they were read.
    book: Option<Book>,
    /// The plan that was made last, of whichever book.
    epoch: Epoch,
    grace_periods: GracePeriods,
    node_ports: NodePortAddresses,
    /// Whether there was a first state: before, what is desired is not known, and not nothing.
    begun: bool,
    /// Input that could not be used.
    unused: Vec<Problem>,
    /// Rows that an earlier agent left in the maps and that no state has shown yet.
    unsure: BTreeSet<RowId>,
    /// Service ports that did not fit into the maps, and what is said of them.
    full: (BTreeSet<PortId>, Vec<Problem>),
    problem_log: ProblemLog,
    /// What could not be written.
    failed: Vec<Problem>,
    audit: Audit,
    sums: Sums,
    retry_at: Option<Instant>,
    sweeper: Sweeper,
    pods: Pods,
    /// True if the maps may not have what was found of pods.
    pods_differ: bool,
    /// Backends that were drained by hand.
    drained: BTreeMap<SocketAddr, Drained>,
}

/// Why the maps can't be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// They can't be read.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// There is no thread to wait for programs.
    #[error("no thread can be started: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
}

impl Reconciler {
    /// Takes over the maps. An earlier agent may have died between giving something up and the
    /// grace after it.
    pub fn new(
        mut maps: PinnedMaps,
        node_ports: NodePortAddresses,
        pods: Pods,
    ) -> Result<Self, TakeOverError> {
        maps.wait_grace_period();
        let book = Book::read(&maps)?;
        Ok(Self {
            unsure: book.held().rows.keys().cloned().collect(),
            epoch: book.epoch(),
            book: Some(book),
            maps,
            grace_periods: GracePeriods::start().map_err(TakeOverError::Thread)?,
            node_ports,
            begun: false,
            unused: Vec::new(),
            full: Default::default(),
            problem_log: ProblemLog::default(),
            failed: Vec::new(),
            audit: Audit::default(),
            sums: Sums::default(),
            retry_at: None,
            sweeper: Sweeper::default(),
            pods,
            pods_differ: false,
            drained: BTreeMap::new(),
        })
    }

    /// Brings the maps to a new state.
    ///
    /// While the source may lack objects that an earlier agent knew, what that agent left stays,
    /// until it is seen: a broken file at the start must not end what works.
    pub fn reconcile(&mut self, state: &State, shared: &Shared) {
        let started = state.arrived.unwrap_or_else(Instant::now);
        self.unused.clone_from(&state.problems);
        let is_settled = self.begun && self.unsure.is_empty();
        match &state.changes {
            Changes::Some(parts) if is_settled => self.follow(state, parts, started, shared),
            _ => self.renew(state, started, shared),
        }
        if self.retry_at.is_none() {
            shared.written(&state.triggers);
        }
    }

    /// A state of which anything may be new.
    fn renew(&mut self, state: &State, started: Instant, shared: &Shared) {
        let new = desired(state, &self.node_ports);
        let first = !std::mem::replace(&mut self.begun, true);
        let pods_changed = shared.announce(|known| {
            let changed =
                first || known.pods != new.pods || known.node_addresses != new.node_addresses;
            *known = new;
            changed
        });
        if pods_changed {
            self.pods_differ |= shared.desired(|desired| self.pods.changed(desired));
        }
        if !self.unsure.is_empty() {
            let wanted = shared.desired(|desired| rows(&desired.ports));
            let seen = |id: &RowId| wanted.get(id).is_some_and(|row| !row.backends.is_empty());
            self.unsure.retain(|id| state.missing && !seen(id));
        }
        self.write(Wanted::All, started, shared);
    }

    /// A state of which only parts are new.
    fn follow(&mut self, state: &State, parts: &Parts, started: Instant, shared: &Shared) {
        let again = shared.announce(|desired| desired.follow(state, parts, &self.node_ports));
        if parts.pods {
            self.pods_differ |= shared.desired(|desired| self.pods.changed(desired));
        }
        self.write(Wanted::Some(again), started, shared);
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
        if shared.desired(|desired| self.pods.look(desired)) {
            self.pods_differ = true;
            self.write(Wanted::Some(BTreeSet::new()), Instant::now(), shared);
        }
    }

    /// Tells what is in the way of a first state; the maps stay as they are.
    pub fn wait(&mut self, problems: &[Problem], kinds: &[Kind], shared: &Shared) {
        let problems = Problem::bounded(problems.to_vec());
        self.problem_log.tell(&problems);
        shared.wait(&problems, kinds);
    }

    /// Waits until something that failed should be tried again; for ever if nothing did.
    pub async fn retry(&self) {
        match self.retry_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Ends the charges of connections that never came to be.
    pub fn sweep(&mut self, shared: &Shared) {
        let now = Instant::now();
        self.sums.tell(now);
        let ended = self.sweeper.pass(&self.maps, now);
        if ended > 0 {
            tracing::debug!(ended, "charges of connections that failed inside connect()");
        }
        self.look_at_datagrams(shared);
        self.forget_idle(shared);
    }

    /// Forgets backends whose last connection has ended since they left their rows.
    fn forget_idle(&mut self, shared: &Shared) {
        let Some(book) = self.book.as_mut().filter(|_| self.begun) else { return };
        book.release(self.grace_periods.passed());
        if book.has_idle(&self.maps) {
            self.write(Wanted::Some(BTreeSet::new()), Instant::now(), shared);
        }
    }

    /// Has connected UDP sockets looked at, and those ended whose backend does not serve what they
    /// dialled.
    fn look_at_datagrams(&self, shared: &Shared) {
        let connected = self.maps.connected_udp();
        if connected.is_empty() {
            return;
        }
        // What the maps hold beside what is desired may only be missing for now.
        let is_sure = self.begun && self.unsure.is_empty();
        let left = match self.book.as_ref().filter(|_| is_sure) {
            Some(book) => {
                let rows = book.udp();
                let leaves = |desired: &Desired, found: &&Connected| {
                    !serves(&self.maps, desired, &rows, found)
                };
                shared.desired(|desired| {
                    connected.iter().filter(|found| leaves(desired, found)).copied().collect()
                })
            }
            None => Vec::new(),
        };
        shared.datagrams().give(Look { connected, left });
    }

    /// Logs what was not told of the last changes.
    pub fn end(&mut self) {
        self.sums.end();
    }

    /// Brings the maps to the state that was given last, once there is one.
    pub fn redo(&mut self, shared: &Shared) {
        if self.begun {
            self.again(shared);
        }
    }

    /// Brings the maps to the state that was given last.
    pub fn again(&mut self, shared: &Shared) {
        self.pods_differ = true;
        self.write(Wanted::All, Instant::now(), shared);
    }

    fn write(&mut self, wanted: Wanted, started: Instant, shared: &Shared) {
        // Without a book everything is read and written anew, which is not done at each change.
        let waits = self.book.is_none() && self.retry_at.is_some_and(|at| started < at);
        if waits && matches!(wanted, Wanted::Some(_)) {
            return self.tell(shared);
        }
        let mut failed = Vec::new();
        let udp = match &wanted {
            Wanted::All => true,
            Wanted::Some(ports) => ports.iter().any(|id| id.protocol == Protocol::Udp),
        };
        if self.pods_differ {
            failed.extend(apply::pods(&mut self.maps, self.pods.found()).1);
            self.pods_differ = !failed.is_empty();
        }
        self.drained = shared.moving().drained();
        let mut done = Done::default();
        // What the source has to tell may be about itself alone.
        let is_asked = !matches!(&wanted, Wanted::Some(ports) if ports.is_empty());
        let result = self.bring(wanted, shared, &mut done);
        self.full = (done.full, done.does_not_fit);
        match result {
            Ok(()) => {
                failed.extend(done.problems);
                if is_asked || done.writes > 0 {
                    self.sums.add(Written {
                        services: shared.desired(|desired| desired.ports.len()),
                        rows: done.rows,
                        writes: done.writes,
                        took: started.elapsed(),
                        writing: done.writing,
                    });
                    self.sums.tell(Instant::now());
                }
            }
            Err(error) => failed.push(Problem {
                object: "maps".to_owned(),
                field: String::new(),
                message: format!("{error}; they stay as they are"),
            }),
        }
        if udp {
            self.look_at_datagrams(shared);
        }
        shared.moving().changed(!self.unsure.is_empty());
        if done.writes > 0
            && let Some(peers) = shared.peers()
        {
            peers.changed();
        }
        self.failed = failed;
        self.retry_at = (!self.failed.is_empty()).then(|| Instant::now() + RETRY);
        self.tell(shared);
    }

    /// Tells what is wrong.
    fn tell(&mut self, shared: &Shared) {
        let mut problems = self.unused.clone();
        shared.desired(|desired| problems.extend_from_slice(&desired.problems));
        problems.extend(self.pods.problem().cloned());
        problems.extend_from_slice(&self.full.1);
        problems.extend_from_slice(&self.failed);
        problems.extend(self.audit.problems());
        let problems = Problem::bounded(problems);
        self.problem_log.tell(&problems);
        shared.settle(problems, self.failed.is_empty());
    }
}

/// True while the backend of a connected UDP socket serves the Service port that it dialled, whether or
/// not new sockets go there. Other Services that may have it are no matter.
fn serves(
    maps: &impl ReadMaps,
    desired: &Desired,
    rows: &BTreeMap<u32, &RowId>,
    found: &Connected,
) -> bool {
    let Some(row) = rows.get(&found.service) else { return false };
    let Some(port) = desired.ports.get(&row.port) else { return false };
    let backends = match row.scope {
        Scope::External => port.external.as_ref().unwrap_or(&port.backends),
        Scope::Internal => &port.backends,
    };
    let backend = convert::backend_addr(&maps.backend(charge::backend_of(found.word)));
    let details = backend.and_then(|backend| backends.get(&backend));
    details.is_some_and(|details| details.serving)
}
