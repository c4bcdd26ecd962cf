//! Plans and carries out, and keeps the book.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::Bound,
    time::{Duration, Instant},
};

use super::{
    super::{grace_periods::GracePeriods, moving::Drained},
    Reconciler,
};
use crate::{
    apply::apply,
    desired::PortId,
    maps::{Charges, MapsError, OutsideCharges, WriteMaps},
    model::{Problem, Protocol},
    plan::{
        Extent, Plan,
        book::Book,
        plan,
        rows::{Rows, rows},
    },
};

/// How many Service ports are written at a time into empty maps.
const SOME: usize = 500;

/// What became of the plans of one change.
#[derive(Default)]
pub(super) struct Done {
    pub(super) rows: usize,
    pub(super) writes: usize,
    pub(super) writing: Duration,
    /// What could not be written.
    pub(super) problems: Vec<Problem>,
    /// Service ports that do not fit.
    pub(super) full: BTreeSet<PortId>,
    /// What is to be said of them.
    pub(super) does_not_fit: Vec<Problem>,
}

/// What is to be written.
pub(super) enum Wanted {
    /// All that there should be.
    All,
    /// Some Service ports; the others stay as they are.
    Some(BTreeSet<PortId>),
}

impl<M: WriteMaps + Charges + OutsideCharges, G: GracePeriods> Reconciler<M, G> {
    /// Plans and carries out, however much of what is wanted that takes.
    pub(super) fn bring(&mut self, wanted: Wanted, done: &mut Done) -> Result<(), MapsError> {
        match (wanted, &self.book) {
            (Wanted::Some(mut ports), Some(_)) => {
                // What others gave up meanwhile may make room.
                ports.extend(self.full.0.iter().cloned());
                let desired = self.desired.read();
                let wanted = rows(ports.iter().filter_map(|id| desired.ports.get_key_value(id)));
                drop(desired);
                self.plan_and_apply(&wanted, Some(&ports), done)
            }
            (Wanted::All, Some(book)) if book.is_empty() => self.fill(done),
            // Without a book a write has failed, and it is not known of what.
            _ => {
                let wanted = rows(&self.desired.read().ports);
                self.plan_and_apply(&wanted, None, done)
            }
        }
    }

    /// Fills empty maps, some Service ports at a time: in a large cluster all of them at once would
    /// take as much memory again as they do afterwards.
    fn fill(&mut self, done: &mut Done) -> Result<(), MapsError> {
        let mut next = Bound::Unbounded;
        loop {
            let desired = self.desired.read();
            let range = (next.as_ref(), Bound::Unbounded);
            let part = desired.ports.range::<PortId, _>(range).take(SOME);
            let mut ports: BTreeSet<_> = part.clone().map(|(id, _)| id.clone()).collect();
            let some = rows(part);
            drop(desired);
            self.plan_and_apply(&some, Some(&ports), done)?;
            if !done.problems.is_empty() {
                // All of it is written again, and each part would read the maps anew.
                return Ok(());
            }
            match ports.pop_last() {
                Some(last) => next = Bound::Excluded(last),
                None => {
                    self.book.iter_mut().for_each(Book::compact);
                    return Ok(());
                }
            }
        }
    }

    /// Plans and carries out what is wanted of some Service ports, or of all.
    fn plan_and_apply(
        &mut self,
        wanted: &Rows,
        some: Option<&BTreeSet<PortId>>,
        done: &mut Done,
    ) -> Result<(), MapsError> {
        let mut book = match self.book.take() {
            Some(book) => book,
            None => {
                self.maps.wait_grace_period();
                Book::read(&self.maps)?.after(self.epoch)
            }
        };
        book.release(self.grace_periods.passed());
        let mut plan = self.plan(&mut book, wanted, some);
        self.carry_out(&plan, done);
        // Where a write has failed the book is wrong: what it takes to be free may be in use.
        let is_right = done.problems.is_empty();
        if is_right && !plan.problems.is_empty() && book.awaits_release() {
            // What was given up may make room.
            self.maps.wait_grace_period();
            book.release(book.epoch());
            plan = self.plan(&mut book, wanted, some);
            self.carry_out(&plan, done);
        }
        if plan.gave_up {
            self.grace_periods.ask(book.epoch());
        }
        self.epoch = book.epoch();
        if done.problems.is_empty() {
            self.book = Some(book);
        }
        done.full.extend(plan.full.into_iter().map(|id| id.port));
        done.does_not_fit.extend(plan.problems);
        Ok(())
    }

    fn plan(&self, book: &mut Book, wanted: &Rows, some: Option<&BTreeSet<PortId>>) -> Plan {
        let extent = some.map_or(Extent::All(&self.unsure), Extent::Some);
        let kept = without(wanted, &self.drained);
        plan(book, kept.as_ref().unwrap_or(wanted), extent, &self.maps)
    }

    fn carry_out(&mut self, plan: &Plan, done: &mut Done) {
        let started = Instant::now();
        if let Some(outside) = &mut self.outside {
            outside.put(plan);
        }
        let applied = apply(&mut self.maps, plan);
        if let Some(outside) = &mut self.outside {
            outside.remove(plan);
        }
        done.writing += started.elapsed();
        done.rows += plan.rows;
        done.writes += applied.writes;
        done.problems.extend(applied.problems);
    }
}

/// Rows without backends that are drained by hand; none where there is nothing to leave out.
fn without(rows: &Rows, drained: &BTreeMap<SocketAddr, Drained>) -> Option<Rows> {
    if drained.is_empty() {
        return None;
    }
    let mut kept = rows.clone();
    for row in kept.values_mut() {
        row.backends.retain(|(backend, _)| {
            backend.protocol != Protocol::Tcp || !drained.contains_key(&backend.addr())
        });
    }
    Some(kept)
}
