//! What the compiler knows and the verifier does not.
//!
//! The compiler leaves out a check that an earlier one implies. Some kernels' verifiers do not see
//! what it saw: before Linux 6.8 they did not compare two ranges, and so followed a loop beyond the
//! length that ends it.

use core::arch::asm;

/// The same number, of which the compiler knows nothing: what it is compared with later stays.
///
/// No instruction: at most one that moves the number to the register. Named, since only then the text
/// may be empty, and one that is not counts as an instruction in the information on lines, where the
/// kernel does not find it.
#[inline(always)]
pub fn opaque(mut number: u64) -> u64 {
    // SAFETY: no instruction at all.
    unsafe { asm!("", inout("r3") number, options(pure, nomem, nostack, preserves_flags)) };
    number
}
