//! From a state of the source to the maps: desired, plan, apply.

pub mod audit;
mod sums;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use balancer_common::charge;

use super::{
    audience::Audience,
    grace_periods::GracePeriods,
    handover::Look,
    journal::{Event, changes},
    known::{Known, Reader},
    moving::Drained,
    outside::Outside,
    pods::Pods,
    problem_log::ProblemLog,
    sweep::Sweeper,
};
use crate::{
    apply,
    desired::{Desired, PortId, desired, node_ports::NodePorts},
    maps::{
        Charges, Connected, MapsError, OutsideCharges, ReadMaps, WriteMaps, convert,
        identity::{RowId, Scope},
    },
    metrics::Synced,
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
pub struct Reconciler<M, G> {
    maps: M,
    /// What they should hold.
    desired: Known,
    /// What they hold; none where a write has failed since they were read.
    book: Option<Book>,
    /// The plan that was made last, of whichever book.
    epoch: Epoch,
    grace_periods: G,
    node_ports: NodePorts,
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
    /// Connections from outside, where they are served.
    outside: Option<Outside>,
    /// Why they are not, although they should be.
    without_outside: Option<Problem>,
    /// Backends that were drained by hand.
    drained: BTreeMap<SocketAddr, Drained>,
}

impl<M: WriteMaps + Charges + OutsideCharges, G: GracePeriods> Reconciler<M, G> {
    /// Takes over the maps. An earlier agent may have died between giving something up and the
    /// grace after it.
    pub fn new(
        mut maps: M,
        grace_periods: G,
        node_ports: NodePorts,
        pods: Pods,
    ) -> Result<Self, MapsError> {
        maps.wait_grace_period();
        let book = Book::read(&maps)?;
        Ok(Self {
            unsure: book.held().rows.keys().cloned().collect(),
            epoch: book.epoch(),
            book: Some(book),
            maps,
            desired: Known::default(),
            grace_periods,
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
            outside: None,
            without_outside: None,
            drained: BTreeMap::new(),
        })
    }

    /// Serves connections from outside, too.
    pub fn serve_outside(&mut self, mut outside: Outside) {
        // Before the first plan: what an earlier agent left goes on, and follows it.
        if let Some(book) = &self.book {
            outside.adopt(book.held());
        }
        self.outside = Some(outside);
    }

    /// Does not serve connections from outside, for a reason that is told as long as this agent runs.
    pub fn lack_outside(&mut self, why: Problem) {
        self.without_outside = Some(why);
    }

    /// Looks at what connections from outside need, once there was a first state.
    pub fn look_outside(&mut self, audience: &impl Audience) {
        let (Some(outside), Some(book)) = (&mut self.outside, &self.book) else { return };
        if self.begun {
            let before = outside.problems().to_vec();
            let addresses = self.desired.read().node_addresses.clone();
            outside.look(book, &addresses, &mut self.maps);
            if outside.problems() != before {
                self.tell(audience);
            }
        }
    }

    /// What is desired, for those who read it.
    pub fn desired(&self) -> Reader {
        self.desired.reader()
    }

    /// Brings the maps to a new state.
    ///
    /// While the source may lack objects that an earlier agent knew, what that agent left stays,
    /// until it is seen: a broken file at the start must not end what works.
    pub fn reconcile(&mut self, state: &State, audience: &impl Audience) {
        let started = state.arrived.unwrap_or_else(Instant::now);
        self.unused.clone_from(&state.problems);
        let is_settled = self.begun && self.unsure.is_empty();
        let begun = Instant::now();
        let (services, endpoints) = match &state.changes {
            Changes::Some(parts) => (parts.services.len(), parts.endpoints.len()),
            Changes::All => (state.services.len(), state.services.len()),
        };
        match &state.changes {
            Changes::Some(parts) if is_settled => self.follow(state, parts, started, audience),
            _ => self.renew(state, started, audience),
        }
        let complete = self.retry_at.is_none();
        if complete {
            audience.written(&state.triggers);
        }
        audience.synced(&Synced {
            took: begun.elapsed(),
            services: services as u64,
            endpoints: endpoints as u64,
            complete,
        });
    }

    /// A state of which anything may be new.
    fn renew(&mut self, state: &State, started: Instant, audience: &impl Audience) {
        let new = desired(state, &self.node_ports);
        let first = !std::mem::replace(&mut self.begun, true);
        let mut known = self.desired.change();
        let pods_changed = first
            || known.pods != new.pods
            || known.nodes != new.nodes
            || known.node_addresses != new.node_addresses;
        let old = std::mem::replace(&mut *known, new);
        drop(known);
        let known = self.desired.read();
        audience.know(&known);
        audience.happened(if first {
            vec![Event::agent(format!("{} Service ports are there", known.ports.len()))]
        } else {
            changes::all(&old.ports, &known)
        });
        // Whoever reads need not wait for this.
        drop(old);
        if pods_changed {
            self.pods_differ |= self.pods.changed(&known);
        }
        if !self.unsure.is_empty() {
            let wanted = rows(&known.ports);
            let seen = |id: &RowId| wanted.get(id).is_some_and(|row| !row.backends.is_empty());
            self.unsure.retain(|id| state.missing && !seen(id));
        }
        drop(known);
        self.write(Wanted::All, started, audience);
    }

    /// A state of which only parts are new.
    fn follow(&mut self, state: &State, parts: &Parts, started: Instant, audience: &impl Audience) {
        let named: BTreeSet<_> = parts.services.union(&parts.endpoints).cloned().collect();
        let before = changes::before(&self.desired.read(), &named);
        let again = self.desired.change().follow(state, parts, &self.node_ports);
        let known = self.desired.read();
        audience.know(&known);
        audience.happened(changes::after(&before, &known, &named));
        if parts.pods || self.node_ports.may_move(parts) {
            self.pods_differ |= self.pods.changed(&known);
        }
        drop(known);
        self.write(Wanted::Some(again), started, audience);
    }

    /// Waits until pods should be looked up again; for ever before the first state. Cancel-safe.
    pub async fn pods_due(&self) {
        if !self.begun {
            std::future::pending::<()>().await;
        }
        self.pods.due().await;
    }

    /// Looks the pods up again.
    pub fn look_for_pods(&mut self, audience: &impl Audience) {
        if self.pods.look(&self.desired.read()) {
            self.pods_differ = true;
            self.write(Wanted::Some(BTreeSet::new()), Instant::now(), audience);
        }
    }

    /// Tells what is in the way of a first state; the maps stay as they are.
    pub fn wait(&mut self, problems: &[Problem], kinds: &[Kind], audience: &impl Audience) {
        let problems = Problem::bounded(problems.to_vec());
        self.note(&problems, audience);
        audience.wait(&problems, kinds);
    }

    /// Waits until something that failed should be tried again; for ever if nothing did.
    pub async fn retry(&self) {
        match self.retry_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Ends the charges of connections that never came to be.
    pub fn sweep(&mut self, audience: &impl Audience) {
        let now = Instant::now();
        self.sums.tell(now);
        let ended = self.sweeper.pass(&self.maps, now);
        if ended > 0 {
            tracing::debug!(ended, "charges of connections that failed inside connect()");
        }
        self.look_at_datagrams(audience);
        self.forget_idle(audience);
    }

    /// Forgets backends whose last connection has ended since they left their rows.
    fn forget_idle(&mut self, audience: &impl Audience) {
        let Some(book) = self.book.as_mut().filter(|_| self.begun) else { return };
        book.release(self.grace_periods.passed());
        if book.has_idle(&self.maps) {
            self.write(Wanted::Some(BTreeSet::new()), Instant::now(), audience);
        }
    }

    /// Has connected UDP sockets looked at, and those ended whose backend does not serve what they
    /// dialled.
    fn look_at_datagrams(&self, audience: &impl Audience) {
        let connected = self.maps.connected_udp();
        if connected.is_empty() {
            return;
        }
        // What the maps hold beside what is desired may only be missing for now.
        let is_sure = self.begun && self.unsure.is_empty();
        let left = match self.book.as_ref().filter(|_| is_sure) {
            Some(book) => {
                let rows = book.udp();
                let desired = self.desired.read();
                let leaves = |found: &&Connected| !serves(&self.maps, &desired, &rows, found);
                connected.iter().filter(leaves).copied().collect()
            }
            None => Vec::new(),
        };
        audience.look(Look { connected, left });
    }

    /// Logs what was not told of the last changes.
    pub fn end(&mut self) {
        self.sums.end();
    }

    /// Brings the maps to the state that was given last, once there is one.
    pub fn redo(&mut self, audience: &impl Audience) {
        if self.begun {
            self.again(audience);
        }
    }

    /// Brings the maps to the state that was given last.
    pub fn again(&mut self, audience: &impl Audience) {
        self.pods_differ = true;
        let begun = Instant::now();
        self.write(Wanted::All, begun, audience);
        let complete = self.retry_at.is_none();
        audience.synced(&Synced { took: begun.elapsed(), services: 0, endpoints: 0, complete });
    }

    fn write(&mut self, wanted: Wanted, started: Instant, audience: &impl Audience) {
        // Without a book everything is read and written anew, which is not done at each change.
        let waits = self.book.is_none() && self.retry_at.is_some_and(|at| started < at);
        if waits && matches!(wanted, Wanted::Some(_)) {
            return self.tell(audience);
        }
        let mut failed = Vec::new();
        let is_all = matches!(wanted, Wanted::All);
        let udp = match &wanted {
            Wanted::All => true,
            Wanted::Some(ports) => ports.iter().any(|id| id.protocol == Protocol::Udp),
        };
        if self.pods_differ {
            failed.extend(apply::pods(&mut self.maps, self.pods.found()).1);
            self.pods_differ = !failed.is_empty();
        }
        self.drained = audience.drained();
        let mut done = Done::default();
        // What the source has to tell may be about itself alone.
        let is_asked = !matches!(&wanted, Wanted::Some(ports) if ports.is_empty());
        let result = self.bring(wanted, &mut done);
        self.full = (done.full, done.does_not_fit);
        match result {
            Ok(()) => {
                if is_all && done.problems.is_empty() {
                    audience.left_out(self.drained.keys().copied().collect());
                }
                failed.extend(done.problems);
                if is_asked || done.writes > 0 {
                    self.sums.add(Written {
                        services: self.desired.read().ports.len(),
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
            self.look_at_datagrams(audience);
        }
        audience.changed(!self.unsure.is_empty(), done.writes > 0);
        self.failed = failed;
        self.retry_at = (!self.failed.is_empty()).then(|| Instant::now() + RETRY);
        self.tell(audience);
    }

    /// Tells what is wrong.
    fn tell(&mut self, audience: &impl Audience) {
        let mut problems = self.unused.clone();
        problems.extend_from_slice(&self.desired.read().problems);
        problems.extend(self.pods.problem().cloned());
        problems.extend_from_slice(&self.full.1);
        problems.extend_from_slice(&self.failed);
        problems.extend(self.audit.problems());
        problems.extend(self.outside.iter().flat_map(Outside::problems).cloned());
        problems.extend(self.without_outside.clone());
        let problems = Problem::bounded(problems);
        self.note(&problems, audience);
        audience.settle(problems, self.failed.is_empty());
    }

    /// Logs which problems have come and which are gone.
    fn note(&mut self, problems: &[Problem], audience: &impl Audience) {
        let changes = self.problem_log.tell(problems);
        let event = |(problem, came): &(Problem, bool)| changes::problem(problem, *came);
        audience.happened(changes.iter().map(event).collect());
    }
}

/// True while the backend of a connected UDP socket serves the Service port that it dialled,
/// whether or not new sockets go there. Other Services that may have it are no matter.
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
        Scope::Outside => port.outside.as_ref().unwrap_or(&port.backends),
        Scope::NoNode => return false,
        Scope::Node(ip) => match port.at_nodes.as_ref().and_then(|nodes| nodes.get(&ip)) {
            Some(backends) => backends,
            None => return false,
        },
    };
    let backend = convert::backend_addr(&maps.backend(charge::backend_of(found.word)));
    let details = backend.and_then(|backend| backends.get(&backend));
    details.is_some_and(|details| details.serving)
}

#[cfg(test)]
mod tests;
