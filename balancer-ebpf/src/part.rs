//! The scan of a part of a row, by hand.
//!
//! It does what [`balancer_common::choice::part`] does, which says what is compared and is tested on
//! the host; but four slots at a time, padding and all, which never wins. A connection to a Service of a thousand backends spends most of its time here, and the
//! compiler's loop takes 18 instructions a slot where 9 do: it does not exchange the sides of an
//! addition or a multiplication and copies what it would overwrite, it copies the smallest key so far
//! from register to register, and it computes addresses and the end of the loop more than once.
//!
//! Eight slots a turn: without a loop, a part is 4,900 bytes of instructions, which are no longer in
//! the first cache when the next connection comes, and a Service of 64 backends takes longer.

use core::arch::asm;

use balancer_common::{
    choice::{Draw, PART},
    layout::{ROW_STEP, Slot},
};

use crate::rows::Scanned;

/// The text for the slot at so many bytes from `r1`. Where its key is smaller, which is rare, it goes to
/// the first label, behind the loop, and comes back to the second.
macro_rules! slot {
    ($at:literal, $smaller:literal, $back:literal) => {
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
            "r4 = *(u32 *)(r4 + 0)\n",
            "r4 <<= 32\n",
            "r4 |= r0\n",
            "if r4 < r5 goto ",
            $smaller,
            "f\n",
            $back,
            ":\n",
        )
    };
}

/// Keeps a smaller key.
macro_rules! smaller {
    ($smaller:literal, $back:literal) => {
        concat!($smaller, ":\nr5 = r4\ngoto ", $back, "b\n")
    };
}

const _: () = assert!(ROW_STEP == 4, "the end of a row is looked for after four slots");
const _: () = assert!(PART.is_multiple_of(8), "the end of a part after eight");

/// The smallest of `best` and the keys of the first `len` slots of a row, at least one; more than
/// [`PART`] are not looked at.
#[inline(always)]
pub fn part(row: &Scanned, len: u32, draw: Draw, mut best: u64) -> u64 {
    // SAFETY: rows start at or below MAX_SLOTS and their slab goes on for MAX_SCAN more words. The
    // mask keeps a counter inside its own slab. Other processors change both; each is read once.
    unsafe {
        asm!(
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
            inout("r1") row.slots() => _,
            in("r2") row.counters(),
            in("r3") draw.factor() as u64,
            inout("r5") best,
            in("r6") len as u64,
            inout("r7") 0u64 => _,
            out("r0") _,
            out("r4") _,
            most = const PART,
            salt = const Slot::SALT_AT,
            backend = const Slot::BACKEND_AT,
            mask = const Slot::OFFSET_MASK,
            options(readonly, nostack),
        );
    }
    best
}
