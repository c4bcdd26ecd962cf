//! Least connections: pick the backend and raise its counter, as one step.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use balancer_common::{
    choice::{self, Draw, PART, Pick, TRIES, Table as _},
    cluster::{self, Chances},
    layout::{Band, MAX_SCAN, PAD_BACKEND, Row},
};

use crate::{
    atomic,
    level::ALONE,
    part, part_of_all, part_untaken,
    rows::{Sampled, Scanned, counter},
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

/// The least-loaded backend of a row: a [`Pick`], [`packed`], [`NONE`] or [`CHANGED`]. By this node's
/// connections where `band` is [`ALONE`], else by those of all nodes.
///
/// A function of its own with a name that the linker keeps: the verifier then checks it once, not
/// once for each try of [`reserve`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_scan(base: u32, len: u32, band: u64) -> u64 {
    let row = Row { base, len };
    if band != ALONE {
        return balancer_scan_all(base, len, band);
    }
    match pick(row) {
        Some(pick) => packed(pick),
        None => NONE,
    }
}

#[inline(always)]
fn pick(row: Row) -> Option<Pick> {
    if row.len > MAX_SCAN {
        return choice::sample(&Sampled::new(row)?, row.len, random);
    }
    let (random, slots) = (random(), Scanned::new(row.base)?);
    let first = || part::first(&slots, row.len, Draw::new(random));
    let key = choice::scan::<PART>(row.len, first, |start, best| {
        balancer_part(row.base.wrapping_add(start), row.len - start, random, best)
    });
    let (index, seen) = Draw::new(random).winner(key)?;
    Some(Pick { backend: slots.slot(index).backend, seen })
}

/// [`balancer_scan`] by the connections of all nodes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_scan_all(base: u32, len: u32, band: u64) -> u64 {
    match pick_of_all(Row { base, len }, band) {
        Some(answer) => answer,
        None => NONE,
    }
}

#[inline(always)]
fn pick_of_all(row: Row, band: u64) -> Option<u64> {
    if row.len > MAX_SCAN {
        return cluster::sample(&Sampled::new(row)?, row.len, random).map(packed);
    }
    let (random, slots) = (random(), Scanned::new(row.base)?);
    let (chances, all) = (Chances::new(random), Band::unpack(band));
    let first = || part_of_all::first(&slots, row.len, chances, all);
    let key = choice::scan::<{ cluster::PART }>(row.len, first, |start, best| {
        let (base, len) = (row.base.wrapping_add(start), row.len - start);
        balancer_part_of_all(base, len, random, band, best)
    });
    match cluster::won(&slots, key, chances, all)? {
        Ok(pick) => Some(packed(pick)),
        Err(_) => Some(CHANGED),
    }
}

/// [`cluster::part`] of a row from its slot at `base`, `len` from its end.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_part_of_all(
    base: u32,
    len: u32,
    random: u32,
    band: u64,
    best: u64,
) -> u64 {
    let Some(row) = Scanned::new(base) else { return best };
    let (chances, band) = (Chances::new(random), Band::unpack(band));
    if cluster::is_untaken(best) {
        part_untaken::part(&row, len, chances, band, best)
    } else {
        part_of_all::part(&row, len, chances, band, best)
    }
}

/// [`part::part`] of a row from its slot at `base`, `len` from its end; what a random word draws is
/// the same for all parts.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_part(base: u32, len: u32, random: u32, best: u64) -> u64 {
    match Scanned::new(base) {
        Some(row) => part::part(&row, len, Draw::new(random), best),
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
    // Of an option the compiler would carry an unwritten word around, which the verifier refuses where it
    // goes to the stack.
    let mut backend = PAD_BACKEND;
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
        backend = picked;
    }
    if backend == PAD_BACKEND {
        return None;
    }
    // SAFETY: as above.
    unsafe { atomic::increment(counter(backend)?) };
    Some(backend)
}
