//! The charges of `balancer_common::charge` over map memory, tied to the counters.

use balancer_common::charge::{self, Charge, KEY, WORDS, Words};

use crate::{atomic, maps, opaque::opaque, rows};

struct Slab(*mut u64);

impl Words for Slab {
    #[inline(always)]
    fn load(&self, index: u32) -> u64 {
        // SAFETY: the mask keeps the index inside the slab.
        unsafe { atomic::load(self.0.add((index & (WORDS - 1)) as usize)) }
    }

    #[inline(always)]
    fn key(&self, which: u32) -> u64 {
        // SAFETY: the key stands behind the table; `which` is a constant. Nothing changes the key while
        // programs run.
        unsafe { *self.0.add((KEY + which) as usize) }
    }

    #[inline(always)]
    fn swap(&self, index: u32, old: u64, new: u64) -> bool {
        // SAFETY: the mask keeps the index inside the slab.
        unsafe { atomic::swap(self.0.add((index & (WORDS - 1)) as usize), old, new) }
    }

    #[inline(always)]
    fn increment(&self, index: u32) {
        // SAFETY: the mask keeps the index inside the slab.
        unsafe { atomic::increment(self.0.add((index & (WORDS - 1)) as usize)) };
    }

    #[inline(always)]
    fn decrement(&self, index: u32) {
        // SAFETY: the mask keeps the index inside the slab.
        unsafe { atomic::decrement(self.0.add((index & (WORDS - 1)) as usize)) };
    }

    #[inline(always)]
    fn find_spilled(&self, cookie: u64, but: u32) -> Option<Charge> {
        let index = found(balancer_spilled(cookie, but))?;
        let word = self.load(index);
        // It may have ended meanwhile; a cookie has no second socket.
        let charge = charge::is_charge(word) && charge::cookie_of(word) == cookie;
        if charge { Some(Charge { index, word }) } else { None }
    }

    #[inline(always)]
    fn insert_spilled(&self, word: u64) -> Option<Charge> {
        let index = found(balancer_spill(word))?;
        Some(Charge { index, word })
    }
}

#[inline(always)]
fn slab() -> Option<Slab> {
    Some(Slab(maps::CHARGES.get_ptr_mut(0)?.cast()))
}

/// No index, where a function with a name answers with one.
pub const NONE: u32 = u32::MAX;

/// The index that such a function answers with. The compiler looks into it and leaves out the mask of
/// what it returns; the verifier does not.
#[inline(always)]
pub fn found(index: u32) -> Option<u32> {
    if index == NONE { None } else { Some(opaque(index as u64) as u32) }
}

/// [`charge::find_spilled`]: the index, or [`NONE`].
///
/// It and [`balancer_spill`] are functions of their own, with names that the linker keeps: what is
/// rarely needed stays out of the way of what always is, and the verifier follows it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_spilled(cookie: u64, but: u32) -> u32 {
    let found = slab().and_then(|slab| charge::find_spilled(&slab, cookie, but));
    found.map_or(NONE, |charge| charge.index)
}

/// [`charge::insert_spilled`]: the index, or [`NONE`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_spill(word: u64) -> u32 {
    let made = slab().and_then(|slab| charge::insert_spilled(&slab, word));
    made.map_or(NONE, |charge| charge.index)
}

/// The charge of a socket.
#[inline(always)]
pub fn find(cookie: u64) -> Option<Charge> {
    charge::find(&slab()?, cookie)
}

/// Has the processor fetch the record that a socket which has no charge will be given, most likely. It is
/// rarely in a cache, and whoever charges the socket would wait for it before the next atomic.
#[inline(always)]
pub fn fetch_record(cookie: u64) {
    let Some(slab) = slab() else { return };
    if let Some(record) = maps::RECORDS.get_ptr(charge::record_of(charge::likely(&slab, cookie))) {
        // SAFETY: `record` is a map value. What it holds is not looked at.
        unsafe { atomic::load(&raw const (*record).since) };
    }
}

/// Records that a socket is charged to a backend whose counter has been raised for it.
#[inline(always)]
pub fn insert(cookie: u64, backend: u32) -> Option<Charge> {
    charge::insert(&slab()?, cookie, backend)
}

/// Takes a place for the charge of a socket to a backend whose counter has been raised for it. Nobody
/// finds it, and its record is the caller's alone, until it is published.
#[inline(always)]
pub fn claim(cookie: u64, backend: u32) -> Option<Charge> {
    charge::claim(&slab()?, cookie, backend)
}

/// Makes a claim the charge that it is for.
#[inline(always)]
pub fn publish(claim: Charge) -> Option<Charge> {
    Some(charge::publish(&slab()?, claim))
}

/// True while a charge stands that was found before: what was read of its record meanwhile is its own.
#[inline(always)]
pub fn stands(charge: Charge) -> bool {
    slab().is_some_and(|slab| slab.load(charge.index) == charge.word)
}

/// True if a socket has a charge beside the one at `index`.
#[inline(always)]
pub fn has_other(cookie: u64, index: u32) -> bool {
    slab().is_some_and(|slab| charge::find_but(&slab, cookie, index).is_some())
}

/// Ends the charge that a socket has beside the one at `index`, if it has one.
#[inline(always)]
pub fn end_others(cookie: u64, index: u32) {
    let Some(slab) = slab() else { return };
    if let Some(other) = charge::find_but(&slab, cookie, index) {
        end_this(other);
    }
}

/// Ends a charge and lowers the counter. True for the one caller that ended it.
#[inline(always)]
pub fn end_this(charge: Charge) -> bool {
    let Some(slab) = slab() else { return false };
    let Some(counter) = rows::counter(charge.backend()) else { return false };
    if !charge::end(&slab, charge) {
        return false;
    }
    // SAFETY: `counter` points into its slab.
    unsafe { atomic::decrement(counter) };
    true
}
