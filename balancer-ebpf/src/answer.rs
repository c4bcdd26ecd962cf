//! What a hook returns, and the counter of it.

use aya_ebpf::{Global, helpers::bpf_set_retval};
use balancer_common::verdict::Verdict;

use crate::{PROCEED, maps};

/// 1 where the kernel has `bpf_set_retval` (Linux 5.18); the loader sets it. Without it, what
/// should be refused is left untouched: the only other answer would be EPERM.
#[unsafe(no_mangle)]
static SET_RETVAL: Global<u8> = Global::new(1);

/// Counts a verdict.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = maps::VERDICTS.get_ptr_mut(verdict.counter()) {
        // SAFETY: a value of this processor; the hook can't be preempted by itself on it.
        unsafe { *counter += 1 };
    }
}

/// Counts a verdict and turns it into what the hook returns.
#[inline(always)]
pub fn answer(verdict: Verdict) -> i32 {
    count(verdict);
    match verdict.errno() {
        Some(errno) if SET_RETVAL.load() != 0 => {
            // SAFETY: cgroup hooks may set their return value.
            unsafe { bpf_set_retval(-errno) };
            0
        }
        _ => PROCEED,
    }
}
