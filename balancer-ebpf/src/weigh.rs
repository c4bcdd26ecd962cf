//! The scan by weight and age: `balancer_common::weighted` over map memory.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use balancer_common::{
    choice::Table as _,
    cluster::Chances,
    layout::{Band, Counter, MAX_SCAN, PAD_ACTIVE, Slot, TICK_SHIFT, ticks},
    suspect::SUSPECT,
    weighted::{self, Best, SlowStart, Weight},
};

use crate::{
    level::ALONE,
    maps,
    reserve::{CHANGED, NONE, packed, random},
    rows::{Scanned, at, counter_at},
};

/// Slots that are weighed in one go. Each of them calls a function, so that one more for so many costs
/// little.
const PART: u32 = 32;

/// Set beside the window of a slow start where suspect backends are weighed as if they were none.
/// Windows are shorter.
const KEEPS_SUSPECTS: u32 = 1 << 31;

/// The time of the choice in a word: now, the window, and [`KEEPS_SUSPECTS`].
#[derive(Clone, Copy)]
struct Clock(u64);

impl Clock {
    /// What a slot is compared by whose backend was added at `since`, by what its row draws and the packed
    /// band, or [`ALONE`].
    #[inline(always)]
    fn weigh(
        self,
        slot: Slot,
        since: u32,
        counter: Counter,
        chances: Chances,
        band: u64,
    ) -> Weight {
        let Counter { active, others } = counter;
        let window = self.0 as u32;
        // The padding's counter has every bit, and keeps it.
        let is_kept = window & KEEPS_SUSPECTS != 0 && active != PAD_ACTIVE;
        let active = if is_kept { active & !SUSPECT } else { active };
        let slow_start = SlowStart { now: (self.0 >> 32) as u32, window: window & !KEEPS_SUSPECTS };
        let weight = slot.weight as u32;
        if band == ALONE {
            return slow_start.weigh(active, weight, since);
        }
        let band = Band::unpack(band);
        let added = chances.added(slot.salt, band);
        slow_start.weigh_all(active, others, weight, since, added, band)
    }
}

/// Now, in ticks.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: the helper has no precondition.
    (unsafe { bpf_ktime_get_ns() } >> TICK_SHIFT) as u32
}

/// The backend of a row with the fewest connections for its weight: a pick, [`NONE`] or
/// [`CHANGED`]. `keeps_suspects` is 1 or 0; the connections are those of all nodes unless `band` is
/// [`ALONE`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_weigh(
    base: u32,
    len: u32,
    slow_start: u32,
    keeps_suspects: u32,
    band: u64,
) -> u64 {
    let kept = if keeps_suspects != 0 { KEEPS_SUSPECTS } else { 0 };
    let clock = (now() as u64) << 32 | (ticks(slow_start) | kept) as u64;
    let random = random();
    let mut best = Best::NONE;
    let mut start = 0;
    while start < MAX_SCAN {
        if start >= len {
            break;
        }
        let draw = (start as u64) << 32 | random as u64;
        let place = (base as u64) << 32 | (len - start) as u64;
        let part = balancer_weigh_part(place, draw, clock, band, best.0);
        best = Best(part);
        start += PART;
    }
    let Some((index, score)) = best.winner() else { return NONE };
    let Some(row) = Scanned::new(base) else { return NONE };
    // It reads the counter once more. Where that has changed again, the reservation finds it.
    let weigh = |slot: Slot, _| {
        let draw = (index as u64) << 32 | random as u64;
        let best = balancer_weigh_slot(slot.pack(), draw, clock, band, Best::NONE.0);
        Weight { score: Best(best).winner().map_or(u64::MAX, |(_, score)| score), share: 0 }
    };
    match weighted::won(&row, index, score, weigh) {
        Ok(pick) => packed(pick),
        Err(_) => CHANGED,
    }
}

/// The best of `best` and the slots of a part. `place` is the beginning of the row, and how many slots it
/// has from this part on; `draw` is the index of the first of them, and what the row draws.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_weigh_part(
    place: u64,
    draw: u64,
    clock: u64,
    band: u64,
    best: u64,
) -> u64 {
    let (base, len, start) = ((place >> 32) as u32, place as u32, (draw >> 32) as u32);
    let Some(row) = Scanned::new(base.wrapping_add(start)) else { return best };
    let mut best = best;
    let mut index = 0;
    while index < PART {
        if index >= len {
            break;
        }
        let draw = ((start + index) as u64) << 32 | draw as u32 as u64;
        best = balancer_weigh_slot(row.slot(index).pack(), draw, clock, band, best);
        index += 1;
    }
    best
}

/// The better of `best` and a slot, given as its word.
///
/// A function of its own with a name that the linker keeps: its branches would have the verifier
/// follow every way through a scan.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_weigh_slot(
    slot: u64,
    draw: u64,
    clock: u64,
    band: u64,
    best: u64,
) -> u64 {
    let slot = Slot::unpack(slot);
    let Some(since) = maps::SINCE.get_ptr(0) else { return best };
    let since = at(since.cast(), slot.backend);
    // Last, and both halves at once: there is little room beside the arguments.
    let Some(counters) = maps::ACTIVE.get_ptr(0) else { return best };
    let counter = counter_at(counters.cast(), slot.backend);
    let chances = Chances::new(draw as u32);
    let weight = Clock(clock).weigh(slot, since, counter, chances, band);
    let random = weighted::random_of(slot, chances.ties());
    Best(best).with((draw >> 32) as u32, weight, random).0
}
