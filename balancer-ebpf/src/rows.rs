//! Rows and counters in map memory, as the choice of `balancer_common` reads them.

use core::ptr::read_volatile;

use balancer_common::{
    choice::Table,
    cluster::ClusterTable,
    layout::{Counter, MAX_BACKENDS, MAX_SCAN, MAX_SLOTS, Row, SLOT_WORDS, Slot},
};

use crate::{atomic, maps};

/// The counter of a backend: its connections from this node.
#[inline(always)]
pub fn counter(backend: u32) -> Option<*mut u32> {
    let slab = maps::ACTIVE.get_ptr_mut(0)?.cast::<Counter>();
    // SAFETY: a local. Volatile, since the compiler knows that a scan answers with a backend below
    // the mask and drops it, while the verifier knows nothing of what functions return.
    let backend = unsafe { read_volatile(&raw const backend) };
    // SAFETY: the mask keeps the index inside the slab.
    Some(unsafe { &raw mut (*slab.add((backend & (MAX_BACKENDS - 1)) as usize)).active })
}

/// Raises the counter of a backend.
#[inline(always)]
pub fn raise(backend: u32) {
    if let Some(counter) = counter(backend) {
        // SAFETY: `counter` points into its slab.
        unsafe { atomic::increment(counter) };
    }
}

/// Lowers the counter of a backend that was raised before.
#[inline(always)]
pub fn lower(backend: u32) {
    if let Some(counter) = counter(backend) {
        // SAFETY: `counter` points into its slab.
        unsafe { atomic::decrement(counter) };
    }
}

/// The first slot of the row that starts at `base`.
#[inline(always)]
fn start(base: u32) -> Option<*const u64> {
    let slab = maps::SLOTS.get_ptr(0)?.cast::<u64>();
    // SAFETY: masked to what rows may start at. A comparison does not serve: the compiler keeps the
    // number it compared and the one it adds in different registers, and the verifier gives up.
    Some(unsafe { slab.add((base & (MAX_SLOTS - 1)) as usize) })
}

#[inline(always)]
fn slot_of(row: *const u64, index: u32) -> Slot {
    // SAFETY: rows start at or below MAX_SLOTS and the slab goes on for MAX_SCAN more words; a scan
    // stays below MAX_SCAN, and a masked index is cut to that range here.
    Slot::unpack(unsafe { atomic::load(row.add((index & (MAX_SCAN - 1)) as usize)) })
}

/// A row that is read from its start with indices the verifier can bound by itself.
pub struct Scanned {
    slots: *const u64,
    counters: *const Counter,
}

impl Scanned {
    /// The row that starts at `base`.
    #[inline(always)]
    pub fn new(base: u32) -> Option<Self> {
        Some(Self { slots: start(base)?, counters: maps::ACTIVE.get_ptr(0)?.cast() })
    }

    /// Its first slot.
    #[inline(always)]
    pub const fn slots(&self) -> *const u64 {
        self.slots
    }

    /// The counters of all backends.
    #[inline(always)]
    pub const fn counters(&self) -> *const Counter {
        self.counters
    }
}

/// A row that is read at random places.
pub struct Sampled {
    slab: *const u64,
    counters: *const Counter,
    base: u32,
    /// What is looked at of a counter.
    mask: u32,
}

impl Sampled {
    /// A row.
    #[inline(always)]
    pub fn new(row: Row) -> Option<Self> {
        Self::masked(row, u32::MAX)
    }

    /// A row of whose counters `mask` is looked at.
    #[inline(always)]
    pub fn masked(row: Row, mask: u32) -> Option<Self> {
        let slab = maps::SLOTS.get_ptr(0)?.cast::<u64>();
        let counters = maps::ACTIVE.get_ptr(0)?.cast();
        Some(Self { slab, counters, base: row.base, mask })
    }
}

/// The word of a backend in a slab that has one for each.
#[inline(always)]
pub fn at(slab: *const u32, backend: u32) -> u32 {
    // SAFETY: the mask keeps the index inside the slab.
    unsafe { atomic::load(slab.add((backend & (MAX_BACKENDS - 1)) as usize)) }
}

/// The word of a backend in the counters that is its own connections.
#[inline(always)]
pub fn active_at(counters: *const Counter, backend: u32) -> u32 {
    // SAFETY: the mask keeps the index inside the slab.
    unsafe {
        atomic::load(&raw const (*counters.add((backend & (MAX_BACKENDS - 1)) as usize)).active)
    }
}

/// Both words of a backend in the counters.
#[inline(always)]
pub fn counter_at(counters: *const Counter, backend: u32) -> Counter {
    let counter = counters.wrapping_add((backend & (MAX_BACKENDS - 1)) as usize);
    // SAFETY: the mask keeps the index inside the slab; 8 bytes, aligned to 8. Little endian: the first half
    // is the lower one.
    let word = unsafe { atomic::load(counter.cast::<u64>()) };
    Counter { active: word as u32, others: (word >> 32) as u32 }
}

/// The one that is those of other nodes.
#[inline(always)]
pub fn others_at(counters: *const Counter, backend: u32) -> u32 {
    // SAFETY: as above.
    unsafe {
        atomic::load(&raw const (*counters.add((backend & (MAX_BACKENDS - 1)) as usize)).others)
    }
}

impl Table for Scanned {
    #[inline(always)]
    fn slot(&self, index: u32) -> Slot {
        slot_of(self.slots, index)
    }

    #[inline(always)]
    fn active(&self, backend: u32) -> u32 {
        active_at(self.counters, backend)
    }
}

impl Table for Sampled {
    #[inline(always)]
    fn slot(&self, index: u32) -> Slot {
        let at = self.base.wrapping_add(index) as usize;
        if at >= SLOT_WORDS {
            return Slot::PAD;
        }
        // SAFETY: checked above.
        Slot::unpack(unsafe { atomic::load(self.slab.add(at)) })
    }

    #[inline(always)]
    fn active(&self, backend: u32) -> u32 {
        active_at(self.counters, backend) & self.mask
    }
}

impl ClusterTable for Scanned {
    #[inline(always)]
    fn others(&self, backend: u32) -> u32 {
        others_at(self.counters, backend)
    }
}

impl ClusterTable for Sampled {
    #[inline(always)]
    fn others(&self, backend: u32) -> u32 {
        others_at(self.counters, backend)
    }
}
