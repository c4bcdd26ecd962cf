//! The scan of a part of a row by the connections of all nodes, as long as nothing is taken, by hand.
//!
//! Where the others open nothing, the least alone is taken, and [`crate::part_of_all`] would look at every
//! slot before it. Here the estimate is looked at first: most have more than what may be taken and more
//! than the best so far, and their salt is not even read.

use core::arch::asm;

use balancer_common::{
    cluster::{BEYOND, Chances, PART},
    layout::{Band, CLUSTER_FRACTION, Counter, Slot},
    suspect::SUSPECT,
};

use crate::{
    part::keep,
    part_of_all::{compare, left, level, score},
    rows::Scanned,
};

/// The text for a slot. Where its estimate is not above the bound in `r9`, it goes to the first label,
/// behind the loop, and comes back to the second.
macro_rules! slot {
    ($at:literal, $lower:literal, $back:literal) => {
        concat!(
            "r4 = *(u32 *)(r1 + ",
            $at,
            " + {backend})\n",
            "r4 &= {mask}\n",
            "r4 += r2\n",
            "r8 = *(u32 *)(r4 + {others})\n",
            "r4 = *(u32 *)(r4 + {active})\n",
            "w4 <<= {fraction}\n",
            "w8 += w4\n",
            "if w8 <= w9 goto ",
            $lower,
            "f\n",
            $back,
            ":\n",
        )
    };
}

/// The text that computes of the best in `r5` the bound in `r9`: its estimate, or the level and a little
/// more where it is taken; where it is suspect its bit is above all. Takes `r4`.
macro_rules! bound {
    () => {
        concat!(
            "r4 = r5\n",
            "r4 >>= 32\n",
            "w4 &= {below}\n",
            "r9 = r6\n",
            "r9 >>= 32\n",
            "w9 += w4\n",
        )
    };
}

/// Makes the key of a slot whose estimate is in `r8`, keeps it where it is smaller, and computes the bound
/// anew.
macro_rules! lower {
    ($at:literal, $lower:literal, $back:literal) => {
        concat!(
            $lower,
            ":\n",
            "r0 = *(u32 *)(r1 + ",
            $at,
            " + {salt})\n",
            "r0 *= r3\n",
            "r9 = r0\n",
            "r9 >>= 48\n",
            "w4 = w6\n",
            "r4 *= r9\n",
            "r4 >>= 16\n",
            "w8 += w4\n",
            "r9 = r6\n",
            "r9 >>= 32\n",
            "w8 -= w9\n",
            "r4 = *(u32 *)(r1 + ",
            $at,
            " + {backend})\n",
            "r4 &= {mask}\n",
            "r4 += r2\n",
            "r4 = *(u32 *)(r4 + {active})\n",
            score!(),
            keep!(),
            bound!(),
            "goto ",
            $back,
            "b\n",
        )
    };
}

/// The smallest of `best`, which is not taken, and the keys of the first `len` slots of a row, at least one;
/// more than [`PART`] are not looked at.
#[inline(always)]
pub fn part(row: &Scanned, len: u32, chances: Chances, band: Band, mut best: u64) -> u64 {
    // SAFETY: rows start at or below MAX_SLOTS and their slab goes on for MAX_SCAN more words. The
    // mask keeps a counter inside its own slab. Other processors change both.
    unsafe {
        compare!(
            row,
            len,
            chances,
            band,
            best,
            PART,
            [below = !BEYOND as i32],
            left!(),
            bound!(),
            "1:",
            slot!("0", "20", "10"),
            slot!("8", "21", "11"),
            slot!("16", "22", "12"),
            slot!("24", "23", "13"),
            "r1 += 32",
            "r7 += -4",
            "if r7 s> 0 goto 1b",
            "goto 2f",
            lower!("0", "20", "10"),
            lower!("8", "21", "11"),
            lower!("16", "22", "12"),
            lower!("24", "23", "13"),
            "2:",
        );
    }
    best
}
