//! The charges of `balancer_common::charge` over map memory, tied to the counters.

use balancer_common::charge::{self, Charge, WORDS, Words};

use crate::{atomic, maps, opaque::opaque, rows};

struct Slab(*mut u64);

impl Words for Slab {
    #[inline(always)]
    fn load(&self, index: u32) -> u64 {
        // SAFETY: the mask keeps the index inside the slab.
        unsafe { atomic::load(self.0.add((index & (WORDS - 1)) as usize)) }
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
}

#[inline(always)]
fn slab() -> Option<Slab> {
    Some(Slab(maps::CHARGES.get_ptr_mut(0)?.cast()))
}

/// No index, where a function with a name answers with one.
const NONE: u32 = u32::MAX;

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
pub extern "C" fn balancer_spill(cookie: u64, backend: u32) -> u32 {
    let made = slab().and_then(|slab| charge::insert_spilled(&slab, cookie, backend));
    made.map_or(NONE, |charge| charge.index)
}

/// The charge of a socket at another index than the given one, of which there may be
/// [none](charge::NOWHERE).
#[inline(always)]
fn find_but(cookie: u64, but: u32) -> Option<Charge> {
    let slab = slab()?;
    if let Some(found) = charge::find_at_home(&slab, cookie, but) {
        return found;
    }
    let index = balancer_spilled(cookie, but);
    if index == NONE {
        return None;
    }
    // The compiler looks into the function and leaves the mask out; the verifier does not.
    let index = opaque(index as u64) as u32;
    let word = slab.load(index);
    // It may have ended meanwhile; a cookie has no second socket.
    let charge = charge::is_charge(word) && charge::cookie_of(word) == cookie;
    if charge { Some(Charge { index, word }) } else { None }
}

/// The charge of a socket.
#[inline(always)]
pub fn find(cookie: u64) -> Option<Charge> {
    find_but(cookie, charge::NOWHERE)
}

/// Records that a socket is charged to a backend whose counter has been raised for it.
#[inline(always)]
pub fn insert(cookie: u64, backend: u32) -> Option<Charge> {
    let made = charge::insert_at_home(&slab()?, cookie, backend);
    if made.is_some() {
        return made;
    }
    let index = balancer_spill(cookie, backend);
    if index == NONE {
        return None;
    }
    Some(Charge { index: opaque(index as u64) as u32, word: charge::word(cookie, backend) })
}

/// True if a socket has a charge beside the one at `index`.
#[inline(always)]
pub fn has_other(cookie: u64, index: u32) -> bool {
    find_but(cookie, index).is_some()
}

/// Ends the charge that a socket has beside the one at `index`, if it has one.
#[inline(always)]
pub fn end_others(cookie: u64, index: u32) {
    if let Some(other) = find_but(cookie, index) {
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

/// Ends the charge of a socket, if it has one, and lowers the counter. Gives the backend to the one
/// caller that ended it.
#[inline(always)]
pub fn end(cookie: u64) -> Option<u32> {
    let charge = find(cookie)?;
    if end_this(charge) { Some(charge.backend()) } else { None }
}
