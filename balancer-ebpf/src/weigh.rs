//! The scan by weight and age: `balancer_common::weighted` over map memory.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use balancer_common::{
    choice::{Draw, Table as _},
    layout::{MAX_SCAN, PAD_ACTIVE, Slot, TICK_SHIFT, ticks},
    suspect::SUSPECT,
    weighted::{self, Best, SlowStart, Weight},
};

use crate::{
    maps,
    reserve::{CHANGED, NONE, packed, random},
    rows::{Scanned, at},
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
    #[inline(always)]
    fn weigh(self, slot: Slot, active: u32) -> Weight {
        let Some(since) = maps::SINCE.get_ptr(0) else { return Weight { score: 0, share: 0 } };
        let since = at(since.cast(), slot.backend);
        let window = self.0 as u32;
        // The padding's counter has every bit, and keeps it.
        let is_kept = window & KEEPS_SUSPECTS != 0 && active != PAD_ACTIVE;
        let active = if is_kept { active & !SUSPECT } else { active };
        let slow_start = SlowStart { now: (self.0 >> 32) as u32, window: window & !KEEPS_SUSPECTS };
        slow_start.weigh(active, slot.weight as u32, since)
    }
}

/// Now, in ticks.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: the helper has no precondition.
    (unsafe { bpf_ktime_get_ns() } >> TICK_SHIFT) as u32
}

/// The backend of a row with the fewest connections for its weight: a pick, [`NONE`] or
/// [`CHANGED`]. `keeps_suspects` is 1 or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_weigh(base: u32, len: u32, slow_start: u32, keeps_suspects: u32) -> u64 {
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
        let part = balancer_weigh_part(base, len - start, draw, clock, best.0);
        best = Best(part);
        start += PART;
    }
    let Some((index, score)) = best.winner() else { return NONE };
    let Some(row) = Scanned::new(base) else { return NONE };
    let weigh = |slot, active| Clock(clock).weigh(slot, active);
    match weighted::won(&row, index, score, weigh) {
        Ok(pick) => packed(pick),
        Err(_) => CHANGED,
    }
}

/// The best of `best` and the slots of a part, of which the row has `len` more. `draw` is the index of
/// its first slot, and what the row draws.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_weigh_part(
    base: u32,
    len: u32,
    draw: u64,
    clock: u64,
    best: u64,
) -> u64 {
    let start = (draw >> 32) as u32;
    let Some(row) = Scanned::new(base.wrapping_add(start)) else { return best };
    let mut best = best;
    let mut index = 0;
    while index < PART {
        if index >= len {
            break;
        }
        let at = (start + index) as u64;
        best =
            balancer_weigh_slot(row.slot(index).pack(), at << 32 | draw as u32 as u64, clock, best);
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
pub extern "C" fn balancer_weigh_slot(slot: u64, draw: u64, clock: u64, best: u64) -> u64 {
    let slot = Slot::unpack(slot);
    let Some(counters) = maps::ACTIVE.get_ptr(0) else { return best };
    let weight = Clock(clock).weigh(slot, at(counters.cast(), slot.backend));
    let random = weighted::random_of(slot, Draw::new(draw as u32));
    Best(best).with((draw >> 32) as u32, weight, random).0
}
