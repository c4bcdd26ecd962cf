//! What the maps hold and what is free in them, kept up with every plan.
//!
//! The maps are read once. From then on the book follows what is planned, so that a change costs
//! what it touches, not what there is. Where a write fails the book is wrong, and is read anew.

use std::collections::BTreeMap;

use balancer_common::layout::Row;

use super::{
    held::{Held, HeldRow},
    pools::Pools,
    rows::RowId,
};
use crate::{
    desired::BackendAddr,
    maps::{Limits, MapsError, ReadMaps},
    model::Protocol,
};

/// A number of a plan. What a plan gives up is free once the programs that ran when it was carried
/// out have ended.
pub type Epoch = u64;

/// What the maps hold, and what is free in them.
#[derive(Clone, Debug)]
pub struct Book {
    pub(super) held: Held,
    pub(super) pools: Pools,
    /// Backends by their identifier, and how many rows name each.
    named: Vec<Option<(BackendAddr, u32)>>,
    /// Backends that no row names, and since which plan.
    unnamed: BTreeMap<BackendAddr, Epoch>,
    /// What programs may still use, oldest first.
    given_up: Vec<(Epoch, GivenUp)>,
    /// The plan that was made last.
    epoch: Epoch,
    /// Programs that ran when this plan was carried out have ended.
    released: Epoch,
}

/// What is not free at once.
#[derive(Clone, Copy, Debug)]
enum GivenUp {
    Row(Row),
    Service(u32),
}

impl Book {
    /// Reads the maps. No program may be running that began before they became as they are.
    pub fn read(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        Ok(Self::new(Held::read(maps)?, maps.limits()))
    }

    fn new(held: Held, limits: Limits) -> Self {
        let pools = Pools::new(
            limits,
            held.rows.values().map(|row| row.id),
            held.backends.values().copied(),
            held.rows.values().map(|row| row.row),
        );
        let mut named = Vec::new();
        for (&backend, &id) in &held.backends {
            entry(&mut named, id).replace((backend, 0));
        }
        let mut book = Self {
            pools,
            named,
            unnamed: held.backends.keys().map(|backend| (*backend, 0)).collect(),
            given_up: Vec::new(),
            epoch: 0,
            released: 0,
            held,
        };
        let rows: Vec<_> = book.held.rows.values().map(|row| row.backends.clone()).collect();
        rows.iter().for_each(|backends| book.name(backends));
        book
    }

    /// What the maps hold.
    pub const fn held(&self) -> &Held {
        &self.held
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
                GivenUp::Service(id) => self.pools.give_service(id),
            }
        }
    }

    /// What is free, for comparison.
    #[cfg(test)]
    pub(super) const fn free(&self) -> &Pools {
        &self.pools
    }

    /// UDP backends that no row names, by address and identifier.
    pub fn unnamed_udp(&self) -> impl Iterator<Item = (&BackendAddr, u32)> {
        let udp = self.unnamed.keys().filter(|backend| backend.protocol == Protocol::Udp);
        udp.map(|backend| (backend, self.held.backends[backend]))
    }

    /// Begins the next plan: forgets backends that no row names and no connection is charged to, and
    /// returns them.
    ///
    /// Those that are wanted again are made anew: nothing tells that they are still the same pod, and
    /// the slow start counts from there.
    pub(super) fn begin(&mut self, active: impl Fn(u32) -> u32) -> Vec<(BackendAddr, u32)> {
        self.epoch += 1;
        let is_idle = |(backend, since): (&BackendAddr, &Epoch)| {
            let id = self.held.backends[backend];
            // Before, a program may still be about to raise its counter.
            (*since <= self.released && active(id) == 0).then_some((*backend, id))
        };
        let idle: Vec<_> = self.unnamed.iter().filter_map(is_idle).collect();
        for &(backend, id) in &idle {
            self.forget(backend, id);
        }
        idle
    }

    /// An identifier for a backend that has none.
    pub(super) fn add(&mut self, backend: BackendAddr, id: u32) {
        self.held.backends.insert(backend, id);
        entry(&mut self.named, id).replace((backend, 0));
        self.unnamed.insert(backend, self.epoch);
    }

    /// Takes the identifier of a backend back.
    pub(super) fn forget(&mut self, backend: BackendAddr, id: u32) {
        self.held.backends.remove(&backend);
        self.unnamed.remove(&backend);
        entry(&mut self.named, id).take();
        self.pools.give_backend(id);
    }

    /// Puts a row in the place of the one that is held, if any; true if programs may still use that.
    pub(super) fn put(&mut self, id: &RowId, row: HeldRow) -> bool {
        self.name(&row.backends);
        let Some(held) = self.held.rows.get_mut(id) else {
            self.held.rows.insert(id.clone(), row);
            return false;
        };
        let new = row.row;
        let old = std::mem::replace(held, row);
        self.unname(&old.backends);
        let replaced = old.row != new && old.row.len > 0;
        if replaced {
            self.given_up.push((self.epoch, GivenUp::Row(old.row)));
        }
        replaced
    }

    /// Gives a row up.
    pub(super) fn remove(&mut self, id: &RowId) -> Option<HeldRow> {
        let row = self.held.rows.remove(id)?;
        self.unname(&row.backends);
        self.given_up.push((self.epoch, GivenUp::Service(row.id)));
        if row.row.len > 0 {
            self.given_up.push((self.epoch, GivenUp::Row(row.row)));
        }
        Some(row)
    }

    fn name(&mut self, backends: &[(u32, u16)]) {
        for (id, _) in backends {
            // None: a row of another version may name what is not there.
            if let Some((backend, rows)) = entry(&mut self.named, *id) {
                *rows += 1;
                self.unnamed.remove(backend);
            }
        }
    }

    fn unname(&mut self, backends: &[(u32, u16)]) {
        for (id, _) in backends {
            if let Some((backend, rows)) = entry(&mut self.named, *id) {
                *rows -= 1;
                if *rows == 0 {
                    self.unnamed.insert(*backend, self.epoch);
                }
            }
        }
    }
}

fn entry(named: &mut Vec<Option<(BackendAddr, u32)>>, id: u32) -> &mut Option<(BackendAddr, u32)> {
    let index = id as usize;
    if named.len() <= index {
        named.resize(index + 1, None);
    }
    &mut named[index]
}
