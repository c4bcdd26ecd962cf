//! The choice of `balancer_common::choice` over map memory.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use balancer_common::{
    choice::{self, Draw, Pick, TRIES, Table},
    layout::{MAX_BACKENDS, MAX_SCAN, MAX_SLOTS, Row, SLOT_WORDS, Slot},
};

use crate::{atomic, maps};

/// The counter of a backend.
#[inline(always)]
pub fn counter(backend: u32) -> Option<*mut u32> {
    let slab = maps::ACTIVE.get_ptr_mut(0)?.cast::<u32>();
    // SAFETY: the mask keeps the index inside the slab.
    Some(unsafe { slab.add((backend & (MAX_BACKENDS - 1)) as usize) })
}

/// A row that is read from its start with indices the verifier can bound by itself.
struct Scanned {
    slots: *const u64,
    active: *const u32,
}

/// A row that is read at random places.
struct Sampled {
    slab: *const u64,
    active: *const u32,
    base: u32,
}

#[inline(always)]
fn active(slab: *const u32, backend: u32) -> u32 {
    // SAFETY: the mask keeps the index inside the slab.
    unsafe { atomic::load(slab.add((backend & (MAX_BACKENDS - 1)) as usize)) }
}

impl Table for Scanned {
    #[inline(always)]
    fn slot(&self, index: u32) -> Slot {
        // SAFETY: rows start at or below MAX_SLOTS and the slab goes on for MAX_SCAN more words;
        // a scan stays below MAX_SCAN, and a masked index is cut to that range here.
        Slot::unpack(unsafe { atomic::load(self.slots.add((index & (MAX_SCAN - 1)) as usize)) })
    }

    #[inline(always)]
    fn active(&self, backend: u32) -> u32 {
        active(self.active, backend)
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
        active(self.active, backend)
    }
}

/// `scan`'s answer when no backend can be picked.
const NONE: u64 = u64::MAX;

/// The least-loaded backend of a row: a [`Pick`] as `backend << 32 | seen`, or [`NONE`].
///
/// A function of its own with a name that the linker keeps: the verifier then checks it once, not
/// once for each try of [`reserve`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_scan(base: u32, len: u32) -> u64 {
    match pick(Row { base, len }) {
        Some(pick) => (pick.backend as u64) << 32 | pick.seen as u64,
        None => NONE,
    }
}

#[inline(always)]
fn pick(row: Row) -> Option<Pick> {
    let slab = maps::SLOTS.get_ptr(0)?.cast::<u64>();
    let active = maps::ACTIVE.get_ptr(0)?.cast::<u32>();
    if row.len > MAX_SCAN {
        let table = Sampled { slab, active, base: row.base };
        return choice::sample(&table, row.len, random);
    }
    // SAFETY: masked to what rows may start at. A comparison does not serve: the compiler keeps the
    // number it compared and the one it adds in different registers, and the verifier gives up.
    let slots = unsafe { slab.add((row.base & (MAX_SLOTS - 1)) as usize) };
    choice::scan(&Scanned { slots, active }, row.len, Draw::new(random()))
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_prandom_u32() }
}

/// Picks the least-loaded backend of a row and raises its counter, in one step as seen from other
/// processors: a lost race is a new scan. After [`TRIES`] lost races the counter is raised anyway.
#[inline(always)]
pub fn reserve(row: Row) -> Option<u32> {
    let mut tries = 0;
    while tries < TRIES {
        let answer = balancer_scan(row.base, row.len);
        if answer == NONE {
            return None;
        }
        let (backend, seen) = ((answer >> 32) as u32, answer as u32);
        let counter = counter(backend)?;
        // SAFETY: `counter` points into the slab.
        if unsafe { atomic::swap(counter, seen, seen + 1) } {
            return Some(backend);
        }
        tries += 1;
        if tries == TRIES {
            // SAFETY: as above.
            unsafe { atomic::increment(counter) };
            return Some(backend);
        }
    }
    None
}
