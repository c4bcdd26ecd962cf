//! What the maps hold and what is free in them, kept up with every plan.
//!
//! The maps are read once. From then on the book follows what is planned, so that a change costs
//! what it touches, not what there is. Where a write fails the book is wrong, and is read anew.

use std::collections::{BTreeMap, BTreeSet};

use balancer_common::layout::Row;

use super::{
    entries::Entries,
    foreign::{Finding, foreign},
    held::{Held, HeldRow},
    pools::{Full, Pools},
};
use crate::{
    desired::{BackendAddr, PortId},
    maps::{
        MapsError, ReadMaps, convert,
        identity::{Family, RowId, Scope},
    },
    model::{Protocol, compact},
};

/// A number of a plan. What a plan gives up is free once the programs that ran when it was carried
/// out have ended.
pub type Epoch = u64;

/// What the maps hold, and what is free in them.
#[derive(Clone, Debug)]
pub struct Book {
    pub(super) held: Held,
    pub(super) pools: Pools,
    /// How many rows name a backend, by its identifier.
    named: Vec<u32>,
    /// Backends that no row names, by their identifier, and since which plan.
    unnamed: BTreeMap<u32, Epoch>,
    /// Service ports that have no row any more. Their identifiers are not given out while open
    /// connections name them: those would be taken for the next one's.
    lingering: BTreeSet<u32>,
    /// What programs may still use, oldest first.
    given_up: Vec<(Epoch, GivenUp)>,
    /// The plan that was made last.
    epoch: Epoch,
    /// Programs that ran when this plan was carried out have ended.
    released: Epoch,
    /// What the maps have beside what they hold, until a plan of everything takes it away. Of
    /// backends some may be charged by then, and stay.
    pub(super) foreign: Vec<Finding>,
}

/// What is not free at once.
#[derive(Clone, Copy, Debug)]
enum GivenUp {
    Row(Row),
    Service(u32),
    /// Of a row that no agent has written.
    Slots {
        start: u32,
        width: u32,
    },
    Backend(u32),
}

impl Book {
    /// Reads the maps. No program may be running that began before they became as they are.
    pub fn read(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        let entries = Entries::read(maps)?;
        let held = Held::of(&entries, maps);
        // Beside what is held, nothing that a program may find in the maps is given out.
        let led = entries.frontends.iter().map(|(_, frontend)| frontend.service);
        let led = led.chain(entries.names.iter().map(|(id, _)| *id));
        let led: BTreeSet<u32> = led.filter(|id| *id < maps.services()).collect();
        let known: BTreeSet<u32> = held.rows.values().map(|row| row.id).collect();
        let named = maps.services_named();
        let lingering: BTreeSet<u32> = named.difference(&known).copied().collect();
        let mut pools = Pools::new(
            maps.limits(),
            led.iter().chain(&lingering).chain(&known).copied(),
            entries.backends.iter().map(|(id, _)| *id).chain(charged(maps)),
            held.rows.values().filter_map(|row| row.row),
        );
        let foreign = foreign(&held, &entries, maps);
        // The next plan takes away what leads to them.
        let unknown = led.difference(&known).filter(|id| !lingering.contains(id));
        let unknown = unknown.map(|id| GivenUp::Service(*id));
        let slots = led.iter().flat_map(|id| pools.reserve(maps.row(*id)));
        let slots = slots.map(|(start, width)| GivenUp::Slots { start, width });
        let given_up = unknown.chain(slots).map(|thing| (1, thing)).collect();
        let mut book = Self {
            pools,
            named: Vec::new(),
            unnamed: held.backends.values().map(|id| (*id, 0)).collect(),
            lingering,
            given_up,
            epoch: 0,
            released: 0,
            foreign,
            held,
        };
        let held = std::mem::take(&mut book.held);
        held.rows.values().for_each(|row| book.name(row));
        book.held = held;
        book.compact();
        Ok(book)
    }

    /// Numbers plans on from one: grace periods that were asked for before this book was read tell
    /// of plans up to there.
    #[must_use]
    pub fn after(mut self, epoch: Epoch) -> Self {
        self.epoch += epoch;
        self.released += epoch;
        for (given_up, _) in &mut self.given_up {
            *given_up += epoch;
        }
        self
    }

    /// What the maps hold.
    pub const fn held(&self) -> &Held {
        &self.held
    }

    /// True if the maps lead nowhere.
    pub fn is_empty(&self) -> bool {
        let Held { rows, frontends, .. } = &self.held;
        rows.is_empty() && frontends.is_empty() && self.foreign.is_empty()
    }

    /// The plan that was made last.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// True while something that was given up may not be used again yet.
    pub const fn awaits_release(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Programs that ran when the plan of this number was carried out have ended: what it gave up,
    /// and what all before it did, is free.
    pub fn release(&mut self, epoch: Epoch) {
        self.released = self.released.max(epoch);
        let kept = self.given_up.partition_point(|(given_up, _)| *given_up <= self.released);
        for (_, thing) in self.given_up.drain(..kept) {
            match thing {
                GivenUp::Row(row) => self.pools.give_row(row),
                GivenUp::Slots { start, width } => self.pools.give_slots(start, width),
                GivenUp::Backend(id) => {
                    self.unnamed.insert(id, self.released);
                }
                GivenUp::Service(id) => {
                    self.lingering.insert(id);
                }
            }
        }
    }

    /// Gives back the memory that growing has left unused.
    pub fn compact(&mut self) {
        compact(&mut self.held.rows);
        self.held.frontends.compact();
        compact(&mut self.held.backends);
    }

    /// The rows of a Service port, whatever their families and scopes.
    pub(super) fn rows_of(&self, port: &PortId) -> impl Iterator<Item = (&RowId, &HeldRow)> {
        let id = |family, scope| RowId { port: port.clone(), family, scope };
        let (first, last) = (id(Family::V4, Scope::Outside), id(Family::V6, Scope::LAST));
        self.held.rows.range(first..=last)
    }

    /// An identifier for a Service port. Those that were used before are looked at when there are
    /// no others left.
    pub(super) fn service(&mut self, maps: &impl ReadMaps) -> Result<u32, Full> {
        self.pools.service().or_else(|_| {
            self.reclaim(maps);
            self.pools.service()
        })
    }

    /// Frees identifiers of Service ports that no connection names any more.
    pub(super) fn reclaim(&mut self, maps: &impl ReadMaps) {
        if self.lingering.is_empty() {
            return;
        }
        let named = maps.services_named();
        let kept = self.lingering.intersection(&named).copied().collect();
        for id in std::mem::replace(&mut self.lingering, kept).difference(&named) {
            self.pools.give_service(*id);
        }
    }

    /// What is free, for comparison.
    #[cfg(test)]
    pub(super) const fn free(&self) -> &Pools {
        &self.pools
    }

    /// Rows of UDP, by their identifiers.
    pub fn udp(&self) -> BTreeMap<u32, &RowId> {
        let udp = self.held.rows.iter().filter(|(id, _)| id.port.protocol == Protocol::Udp);
        udp.map(|(id, row)| (row.id, id)).collect()
    }

    /// Begins the next plan: forgets backends that no row names and no connection is charged to,
    /// and returns them.
    ///
    /// Those that are wanted again are made anew: nothing tells that they are still the same pod,
    /// and the slow start counts from there.
    pub(super) fn begin(&mut self, maps: &impl ReadMaps) -> Vec<(BackendAddr, u32)> {
        self.epoch += 1;
        let idle: Vec<_> = self.idle(maps).map(|id| (self.backend(maps, id), id)).collect();
        let mut forgotten = Vec::new();
        for (backend, id) in idle {
            match backend {
                Some(backend) => {
                    self.forget(backend, id);
                    forgotten.push((backend, id));
                }
                // It was nobody's, and was taken away.
                None => {
                    self.unnamed.remove(&id);
                    self.pools.give_backend(id);
                }
            }
        }
        forgotten
    }

    /// What a plan of everything takes away of what the maps have beside what they hold. A backend
    /// that programs have charged since it was found stays, for a later one.
    pub(super) fn take_foreign(&mut self, maps: &impl ReadMaps) -> Vec<Finding> {
        let is_charged = |found: &Finding| found.backend().is_some_and(|id| maps.active(id) > 0);
        let (stays, goes) = std::mem::take(&mut self.foreign).into_iter().partition(is_charged);
        self.foreign = stays;
        let goes: Vec<Finding> = goes;
        let backends = goes.iter().filter_map(Finding::backend);
        self.given_up.extend(backends.map(|id| (self.epoch, GivenUp::Backend(id))));
        goes
    }

    /// True if some row names a backend, for new connections or for flows of UDP.
    pub fn is_named(&self, backend: u32) -> bool {
        self.named.get(backend as usize).is_some_and(|rows| *rows > 0)
    }

    /// Backends over UDP that are there and that no row names.
    pub fn unnamed_udp(&self, maps: &impl ReadMaps) -> impl Iterator<Item = u32> {
        let is_udp = |backend: BackendAddr| backend.protocol == Protocol::Udp;
        let ids = self.unnamed.keys().copied();
        ids.filter(move |id| self.backend(maps, *id).is_some_and(is_udp))
    }

    /// True if the next plan forgets a backend, whatever it is of.
    pub fn has_idle(&self, maps: &impl ReadMaps) -> bool {
        self.idle(maps).next().is_some()
    }

    /// Backends that no row names and no connection is charged to.
    fn idle(&self, maps: &impl ReadMaps) -> impl Iterator<Item = u32> {
        // Before, a program may still be about to raise its counter.
        let unnamed = self.unnamed.iter().filter(|(_, since)| **since <= self.released);
        unnamed.map(|(id, _)| *id).filter(|id| maps.active(*id) == 0)
    }

    /// An identifier for a backend that has none.
    pub(super) fn add(&mut self, backend: BackendAddr, id: u32) {
        self.held.backends.insert(backend, id);
        self.unnamed.insert(id, self.epoch);
    }

    /// The backend of an identifier. The maps tell which it is, where nobody else has written that.
    fn backend(&self, maps: &impl ReadMaps, id: u32) -> Option<BackendAddr> {
        let has = |backend: &BackendAddr| self.held.backends.get(backend) == Some(&id);
        let told = convert::backend_addr(&maps.backend(id)).filter(has);
        told.or_else(|| self.held.backends.keys().copied().find(has))
    }

    /// Takes the identifier of a backend back.
    pub(super) fn forget(&mut self, backend: BackendAddr, id: u32) {
        self.held.backends.remove(&backend);
        self.unnamed.remove(&id);
        self.pools.give_backend(id);
    }

    /// Puts a row in the place of the one that is held, if any; true if programs may still use
    /// that, or what it named.
    pub(super) fn put(&mut self, id: &RowId, row: HeldRow) -> bool {
        self.name(&row);
        let Some(held) = self.held.rows.get_mut(id) else {
            self.held.rows.insert(id.clone(), row);
            return false;
        };
        let new = row.row;
        let old = std::mem::replace(held, row);
        let unnamed = self.unname(&old);
        let replaced = old.row.filter(|row| Some(*row) != new && row.len > 0);
        self.given_up.extend(replaced.map(|row| (self.epoch, GivenUp::Row(row))));
        unnamed || replaced.is_some()
    }

    /// Gives a row up.
    pub(super) fn remove(&mut self, id: &RowId) -> Option<HeldRow> {
        let row = self.held.rows.remove(id)?;
        self.unname(&row);
        self.given_up.push((self.epoch, GivenUp::Service(row.id)));
        let slots = row.row.filter(|row| row.len > 0);
        self.given_up.extend(slots.map(|row| (self.epoch, GivenUp::Row(row))));
        Some(row)
    }

    fn name(&mut self, row: &HeldRow) {
        for id in named(row) {
            let index = id as usize;
            if self.named.len() <= index {
                self.named.resize(index + 1, 0);
            }
            self.named[index] += 1;
            self.unnamed.remove(&id);
        }
    }

    /// True if no row names some backend any more.
    fn unname(&mut self, row: &HeldRow) -> bool {
        let mut unnamed = false;
        for id in named(row) {
            let rows = &mut self.named[id as usize];
            *rows -= 1;
            if *rows == 0 {
                self.unnamed.insert(id, self.epoch);
                unnamed = true;
            }
        }
        unnamed
    }
}

/// The backends that a row names.
fn named(row: &HeldRow) -> impl Iterator<Item = u32> {
    row.backends.iter().map(|(id, _)| *id).chain(row.serving.iter().copied())
}

/// Backends that count connections.
fn charged(maps: &impl ReadMaps) -> impl Iterator<Item = u32> {
    (1..maps.limits().backends).filter(|id| maps.active(*id) > 0)
}
