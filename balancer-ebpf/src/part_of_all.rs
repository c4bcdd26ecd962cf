//! The scan of a part of a row by the connections of all nodes, by hand.
//!
//! It does what [`balancer_common::cluster::part`] does, which says what is compared and is tested on the
//! host. The first slots of a row are compared without a branch, as in [`crate::part`]. Behind them the
//! best so far has nearly always been taken, and a slot can only win with fewer own connections, or as many
//! and a smaller tie: that is looked at first, in the instructions of [`crate::part`], and all the rest
//! only where it is so.

use core::arch::asm;

use balancer_common::{
    choice::{FIRST, NO_KEY},
    cluster::{BEYOND, Chances, PART},
    layout::{Band, CLUSTER_FRACTION, Counter, ROW_STEP, Slot},
    suspect::SUSPECT,
};

use crate::{
    part::{keep, key},
    rows::Scanned,
};

/// The text that makes of what a salt's product in `r0` adds, of others' connections in `r9` and of own ones
/// in `r4` how far a slot is above the level, in `w8`: negative where it is taken. Without a branch, as all
/// that is rare here: the verifier follows every way through all slots. Takes `r9`.
macro_rules! above {
    () => {
        concat!(
            "w8 += w9\n",
            "w9 = w4\n",
            "w9 <<= {fraction}\n",
            "w8 += w9\n",
            "r9 = r6\n",
            "r9 >>= 32\n",
            "w8 -= w9\n",
        )
    };
}

/// The text that makes of own connections in `r4`, of what is above the level in `w8` and of the product in
/// `r0` the key in `r4`. Its score is own connections, or the bit of suspects and what is above. Takes `r8`
/// and `r9`.
macro_rules! score {
    () => {
        concat!(
            "w9 = w8\n",
            "w9 s>>= 31\n",
            "w8 += {beyond}\n",
            "w9 |= {suspect}\n",
            "w4 &= w9\n",
            "w9 ^= -1\n",
            "w8 &= w9\n",
            "w4 |= w8\n",
            "r4 <<= 32\n",
            "w0 = w0\n",
            "r4 |= r0\n",
        )
    };
}

/// The text for a slot that is compared without a branch.
macro_rules! straight {
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
            "r9 = r0\n",
            "r9 >>= 48\n",
            "w8 = w6\n",
            "r8 *= r9\n",
            "r8 >>= 16\n",
            "r9 = *(u32 *)(r4 + {others})\n",
            "r4 = *(u32 *)(r4 + {active})\n",
            above!(),
            score!(),
            keep!(),
        )
    };
}

/// The text for a slot that wins where it is taken, or not: where own connections and its tie are smaller
/// than the best, which is rare, it goes to the first label, behind the loop, and comes back to the
/// second.
macro_rules! slot {
    ($at:literal, $smaller:literal, $back:literal) => {
        concat!(key!($at), "if r4 < r5 goto ", $smaller, "f\n", $back, ":\n")
    };
}

/// Compares it as the first ones are.
macro_rules! smaller {
    ($at:literal, $smaller:literal, $back:literal) => {
        concat!($smaller, ":\n", straight!($at), "goto ", $back, "b\n")
    };
}

/// The text that makes of the length of a row in `r7` how many of its slots are looked at. By a branch the
/// verifier would follow the loop once for short rows and once for long ones. Takes `r8`.
macro_rules! left {
    () => {
        concat!(
            "r7 += -{most}\n",
            "r8 = r7\n",
            "r8 s>>= 63\n",
            "r7 &= r8\n",
            "r7 += {most}\n",
            "if r7 s> {most} goto 2f\n",
            "if r7 s< 1 goto 2f\n",
        )
    };
}

/// Runs a text over at most so many slots of a row, of which it has `len`: `r1` is the next slot, `r2` the
/// counters, `r3` what draws chances and ties, `r5` the smallest key so far, `r6` the level, and `r7` what is
/// left of the row. In brackets stands a constant that this text alone has.
macro_rules! compare {
    (
        $row:ident, $len:ident, $chances:ident, $band:ident, $best:ident, $most:ident,
        [$($name:ident = $value:expr)?], $($text:tt)*
    ) => {
        asm!(
            $($text)*
            inout("r1") $row.slots() => _,
            in("r2") $row.counters(),
            in("r3") $chances.factor(),
            inout("r5") $best,
            in("r6") level($band),
            inout("r7") $len as u64 => _,
            out("r0") _,
            out("r4") _,
            out("r8") _,
            out("r9") _,
            most = const $most,
            salt = const Slot::SALT_AT,
            backend = const Slot::BACKEND_AT,
            mask = const Slot::OFFSET_MASK,
            active = const Counter::ACTIVE_AT,
            others = const Counter::OTHERS_AT,
            fraction = const CLUSTER_FRACTION,
            suspect = const SUSPECT,
            beyond = const BEYOND,
            $($name = const $value,)?
            options(readonly, nostack),
        )
    };
}

pub(crate) use {compare, left, score};

/// What the programs compare with: one above the floor, and the span, in one register.
#[inline(always)]
pub const fn level(band: Band) -> u64 {
    Band { floor: band.floor + 1, span: band.span }.pack()
}

const _: () = assert!(PART.is_multiple_of(ROW_STEP), "the end of a part is looked for after four");

/// The smallest key of the first slots of a row, at least one and at most [`FIRST`].
#[inline(always)]
pub fn first(row: &Scanned, len: u32, chances: Chances, band: Band) -> u64 {
    let mut best = NO_KEY;
    // SAFETY: rows start at or below MAX_SLOTS and their slab goes on for MAX_SCAN more words. The
    // mask keeps a counter inside its own slab. Other processors change both.
    unsafe {
        compare!(
            row,
            len,
            chances,
            band,
            best,
            FIRST,
            [],
            left!(),
            "1:",
            straight!("0"),
            straight!("8"),
            straight!("16"),
            straight!("24"),
            "r1 += 32",
            "r7 += -4",
            "if r7 s> 0 goto 1b",
            "2:",
        );
    }
    best
}

/// The smallest of `best` and the keys of the first `len` slots of a row, at least one; more than
/// [`PART`] are not looked at.
#[inline(always)]
pub fn part(row: &Scanned, len: u32, chances: Chances, band: Band, mut best: u64) -> u64 {
    // SAFETY: as above.
    unsafe {
        compare!(
            row,
            len,
            chances,
            band,
            best,
            PART,
            [],
            left!(),
            "1:",
            slot!("0", "20", "10"),
            slot!("8", "21", "11"),
            slot!("16", "22", "12"),
            slot!("24", "23", "13"),
            "r1 += 32",
            "r7 += -4",
            "if r7 s> 0 goto 1b",
            "goto 2f",
            smaller!("0", "20", "10"),
            smaller!("8", "21", "11"),
            smaller!("16", "22", "12"),
            smaller!("24", "23", "13"),
            "2:",
        );
    }
    best
}
