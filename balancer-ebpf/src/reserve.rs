//! Least connections: pick the backend and raise its counter, as one step.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use balancer_common::{
    choice::{self, Draw, PART, Pick, TRIES},
    layout::{MAX_SCAN, Row},
};

use crate::{
    atomic,
    part::part,
    rows::{Sampled, Scanned, counter, slot},
};

/// What the functions with a name answer when no backend can be picked.
pub const NONE: u64 = u64::MAX;
/// What they answer when the counters changed while they looked.
pub const CHANGED: u64 = u64::MAX - 1;

/// A [`Pick`] in one word.
#[inline(always)]
pub const fn packed(pick: Pick) -> u64 {
    (pick.backend as u64) << 32 | pick.seen as u64
}

/// The least-loaded backend of a row: a [`Pick`], [`packed`], or [`NONE`].
///
/// A function of its own with a name that the linker keeps: the verifier then checks it once, not
/// once for each try of [`reserve`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_scan(base: u32, len: u32) -> u64 {
    match pick(Row { base, len }) {
        Some(pick) => packed(pick),
        None => NONE,
    }
}

#[inline(always)]
fn pick(row: Row) -> Option<Pick> {
    if row.len > MAX_SCAN {
        return choice::sample(&Sampled::new(row)?, row.len, random);
    }
    let random = random();
    let key = choice::scan::<PART>(row.len, |start, best| {
        balancer_part(row.base.wrapping_add(start), row.len - start, random, best)
    });
    let (index, seen) = Draw::new(random).winner(key)?;
    Some(Pick { backend: slot(row.base, index)?.backend, seen })
}

/// [`part`] of a row from its slot at `base`, `len` from its end; what a random word draws is
/// the same for all parts.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_part(base: u32, len: u32, random: u32, best: u64) -> u64 {
    match Scanned::new(base) {
        Some(row) => part(&row, len, Draw::new(random), best),
        None => best,
    }
}

/// A uniformly random word.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_prandom_u32() }
}

/// Picks a backend with `pick` and raises its counter, in one step as seen from other processors: a
/// lost race is a new pick. After [`TRIES`] lost races the counter is raised anyway.
#[inline(always)]
pub fn reserve(pick: impl Fn() -> u64) -> Option<u32> {
    let mut tries = 0;
    let mut backend = None;
    while tries < TRIES {
        tries += 1;
        let answer = pick();
        if answer == NONE {
            return None;
        }
        if answer == CHANGED {
            continue;
        }
        let (picked, seen) = ((answer >> 32) as u32, answer as u32);
        // SAFETY: `counter` points into the slab.
        if unsafe { atomic::swap(counter(picked)?, seen, seen + 1) } {
            return Some(picked);
        }
        backend = Some(picked);
    }
    // SAFETY: as above.
    unsafe { atomic::increment(counter(backend?)?) };
    backend
}
