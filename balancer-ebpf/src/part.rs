//! The scan of a part of a row by this node's connections, by hand.
//!
//! It does what [`balancer_common::choice::part`] does, which says what is compared and is tested on
//! the host; but four slots at a time, padding and all, which never wins. A connection to a Service of a
//! thousand backends spends most of its time here, and the compiler's loop takes 18 instructions a slot
//! where 9 do: it does not exchange the sides of an addition or a multiplication and copies what it would
//! overwrite, it copies the smallest key so far from register to register, and it computes addresses and
//! the end of the loop more than once.
//!
//! Eight slots a turn: without a loop, a part is 4,900 bytes of instructions, which are no longer in
//! the first cache when the next connection comes, and a Service of 64 backends takes longer.
//!
//! The first slots of a row, which are all that most rows have, are compared without a branch: which of
//! few is the smallest can't be predicted, and a jump that was predicted wrongly takes as long as two
//! slots. Behind them a smaller key is rare.

use core::arch::asm;

use balancer_common::{
    choice::{Draw, FIRST, NO_KEY, PART},
    layout::{Counter, ROW_STEP, Slot},
};

use crate::rows::Scanned;

/// The text that makes the key of the slot at so many bytes from `r1`, in `r4`.
macro_rules! key {
    ($at:literal) => {
        concat!(
            "r0 = *(u32 *)(r1 + ",
            $at,
            " + {salt})\n",
            "r4 = *(u32 *)(r1 + ",
            $at,
            " + {backend})\n",
            "w0 *= w3\n",
            "r4 &= {mask}\n",
            "r4 += r2\n",
            "r4 = *(u32 *)(r4 + {active})\n",
            "r4 <<= 32\n",
            "r4 |= r0\n",
        )
    };
}

/// The text that keeps the key in `r4` where it is smaller: keys have 63 bits, and the sign of their
/// difference tells. Takes `r0`.
macro_rules! keep {
    () => {
        "r4 -= r5\nr0 = r4\nr0 s>>= 63\nr4 &= r0\nr5 += r4\n"
    };
}

/// The text for a slot. Where its key is smaller, which is rare, it goes to the first label, behind the
/// loop, and comes back to the second.
macro_rules! slot {
    ($at:literal, $smaller:literal, $back:literal) => {
        concat!(key!($at), "if r4 < r5 goto ", $smaller, "f\n", $back, ":\n")
    };
}

/// Keeps a smaller key.
macro_rules! smaller {
    ($smaller:literal, $back:literal) => {
        concat!($smaller, ":\nr5 = r4\ngoto ", $back, "b\n")
    };
}

/// Runs a text over at most so many slots of a row, of which it has `len`: `r1` is the next slot, `r2` the
/// counters, `w3` what draws ties, `r5` the smallest key so far, `r6` the length of the row, and `r7` counts
/// slots.
macro_rules! compare {
    ($row:ident, $len:ident, $draw:ident, $best:ident, $most:ident, $($text:tt)*) => {
        asm!(
            $($text)*
            inout("r1") $row.slots() => _,
            in("r2") $row.counters(),
            in("r3") $draw.factor() as u64,
            inout("r5") $best,
            in("r6") $len as u64,
            inout("r7") 0u64 => _,
            out("r0") _,
            out("r4") _,
            most = const $most,
            salt = const Slot::SALT_AT,
            backend = const Slot::BACKEND_AT,
            mask = const Slot::OFFSET_MASK,
            active = const Counter::ACTIVE_AT,
            options(readonly, nostack),
        )
    };
}

pub(crate) use {keep, key};

const _: () = assert!(ROW_STEP == 4, "the end of a row is looked for after four slots");
const _: () = assert!(PART.is_multiple_of(8), "the end of a part after eight");
const _: () = assert!(FIRST.is_multiple_of(ROW_STEP), "the end of the first slots after four");

/// The smallest key of the first slots of a row, at least one and at most [`FIRST`].
#[inline(always)]
pub fn first(row: &Scanned, len: u32, draw: Draw) -> u64 {
    let mut best = NO_KEY;
    // SAFETY: rows start at or below MAX_SLOTS and their slab goes on for MAX_SCAN more words. The
    // mask keeps a counter inside its own slab. Other processors change both; each is read once.
    unsafe {
        compare!(
            row,
            len,
            draw,
            best,
            FIRST,
            "1:",
            key!("0"),
            keep!(),
            key!("8"),
            keep!(),
            key!("16"),
            keep!(),
            key!("24"),
            keep!(),
            "r1 += 32",
            "r7 += 4",
            "if r7 >= {most} goto 2f",
            "if r6 > r7 goto 1b",
            "2:",
        );
    }
    best
}

/// The smallest of `best` and the keys of the first `len` slots of a row, at least one; more than
/// [`PART`] are not looked at.
#[inline(always)]
pub fn part(row: &Scanned, len: u32, draw: Draw, mut best: u64) -> u64 {
    // SAFETY: as above.
    unsafe {
        compare!(
            row,
            len,
            draw,
            best,
            PART,
            "1:",
            slot!("0", "20", "10"),
            slot!("8", "21", "11"),
            slot!("16", "22", "12"),
            slot!("24", "23", "13"),
            "r7 += 4",
            "if r6 <= r7 goto 2f",
            slot!("32", "24", "14"),
            slot!("40", "25", "15"),
            slot!("48", "26", "16"),
            slot!("56", "27", "17"),
            "r1 += 64",
            "r7 += 4",
            "if r7 >= {most} goto 2f",
            "if r6 > r7 goto 1b",
            "goto 2f",
            smaller!("20", "10"),
            smaller!("21", "11"),
            smaller!("22", "12"),
            smaller!("23", "13"),
            smaller!("24", "14"),
            smaller!("25", "15"),
            smaller!("26", "16"),
            smaller!("27", "17"),
            "2:",
        );
    }
    best
}
