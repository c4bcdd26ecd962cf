//! The scan of the first slots of a row by the connections of all nodes, for those that are taken, by hand.
//!
//! It does what [`balancer_common::cluster::taken`] does, which says what is compared and is tested on the
//! host. Nearly every connection needs no more: [`crate::part_of_all`] makes a key of what is above the level,
//! too, and takes half as many instructions again.

use core::arch::asm;

use balancer_common::{
    choice::{FIRST, NO_KEY},
    cluster::Chances,
    layout::{Band, CLUSTER_FRACTION, Counter, ROW_STEP, Slot},
};

use crate::{part::keep, part_of_all::left, rows::Scanned};

/// The text for a slot that wins if it is taken and its key is smaller, without a branch: `r6` is the span, `r7`
/// [`ESTIMATE`], `r9` what takes one more than the floor away. Takes `r8`.
macro_rules! taken {
    ($at:literal) => {
        concat!(
            "r0 = *(u32 *)(r1 + ",
            $at,
            " + {salt})\n",
            "r4 = *(u32 *)(r1 + ",
            $at,
            " + {backend})\n",
            "r0 *= r3\n",
            "r4 &= {mask}\n",
            "r4 += r2\n",
            "r4 = *(u64 *)(r4 + {active})\n",
            "r8 = r0\n",
            "r8 >>= 48\n",
            "r8 *= r6\n",
            "r8 += r9\n",
            "r4 *= r7\n",
            "r8 -= r4\n",
            "r8 s>>= 63\n",
            "r8 >>= 1\n",
            "w0 = w0\n",
            "r4 <<= 32\n",
            "r4 |= r0\n",
            "r4 |= r8\n",
            keep!(),
        )
    };
}

/// What both words of a counter are multiplied with: the estimate is then in the upper half, and its own
/// connections are still in the lower one.
const ESTIMATE: u64 = 1 << (32 + CLUSTER_FRACTION) | 1;
const _: () = assert!(FIRST.is_multiple_of(ROW_STEP), "the end of the first slots after four");
const _: () =
    assert!(Counter::ACTIVE_AT == 0 && Counter::OTHERS_AT == 4, "both words are read at once");

/// [`balancer_common::cluster::taken`] of the first slots of a row, at least one and at most [`FIRST`].
#[inline(always)]
pub fn first(row: &Scanned, len: u32, chances: Chances, band: Band) -> u64 {
    let mut best = NO_KEY;
    let floor = (band.floor as u64) << 32;
    // SAFETY: rows start at or below MAX_SLOTS and their slab goes on for MAX_SCAN more words. The
    // mask keeps a counter inside its own slab. Other processors change both; each is read once.
    unsafe {
        asm!(
            "r7 = r0",
            left!(),
            "w8 = 0",
            "w8 -= w7",
            "r9 |= r8",
            "r7 = {estimate} ll",
            "1:",
            taken!("0"),
            taken!("8"),
            taken!("16"),
            taken!("24"),
            "r1 += 32",
            "r9 += 4",
            "if w9 s< 0 goto 1b",
            "2:",
            inout("r0") len as u64 => _,
            inout("r1") row.slots() => _,
            in("r2") row.counters(),
            in("r3") chances.factor(),
            out("r4") _,
            inout("r5") best,
            in("r6") ((band.span as u64) << 16).wrapping_neg(),
            out("r7") _,
            out("r8") _,
            inout("r9") floor => _,
            most = const FIRST,
            salt = const Slot::SALT_AT,
            backend = const Slot::BACKEND_AT,
            mask = const Slot::OFFSET_MASK,
            active = const Counter::ACTIVE_AT,
            estimate = const ESTIMATE,
            options(readonly, nostack),
        );
    }
    best
}
