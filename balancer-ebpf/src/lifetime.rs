//! How long connections live, counted as they end.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use balancer_common::{
    charge::Charge,
    layout::{LIFETIME_SUM, lifetime_bucket},
};

use crate::{atomic, maps};

/// When the SYN of a charged socket was sent, in nanoseconds of CLOCK_MONOTONIC; 0 where none was. Asked
/// before the charge ends: its place may go to another socket then.
#[inline(always)]
pub fn since(charge: Charge) -> u64 {
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return 0 };
    // SAFETY: `record` is a map value.
    unsafe { atomic::load(&raw const (*record).since) }
}

/// Counts a connection that has ended, by when its SYN was sent; none where that is 0.
///
/// A function with a name that the linker keeps: the verifier follows it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_lived(since: u64) -> u32 {
    if since == 0 {
        return 0;
    }
    // SAFETY: the helper has no precondition.
    let lifetime = unsafe { bpf_ktime_get_coarse_ns() }.saturating_sub(since);
    for (word, number) in
        [(lifetime_bucket(lifetime), 1), (LIFETIME_SUM as u32, lifetime / 1_000_000)]
    {
        if let Some(word) = maps::LIFETIMES.get_ptr_mut(word) {
            // SAFETY: a value of this processor, on which another hook may come between.
            unsafe { atomic::add64(word, number) };
        }
    }
    1
}
