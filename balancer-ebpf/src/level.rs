//! What the agent says of a row, where that is still believed.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use balancer_common::layout::{Service, is_fresh, milliseconds};

use crate::{atomic, opaque::opaque};

/// Where nothing is known of other nodes. No band is packed so.
pub const ALONE: u64 = 0;

/// The packed [`balancer_common::layout::Band`] of a Service, or [`ALONE`]. The clock is read only where
/// the agent has ever written one.
#[inline(always)]
pub fn band(entry: *const Service) -> u64 {
    // Where it is known to be nothing, the compiler keeps that and leaves the register as it is, and the
    // verifier finds that it was never written.
    opaque(heard(entry))
}

#[inline(always)]
fn heard(entry: *const Service) -> u64 {
    // SAFETY: a map value; the agent writes the band before the time, each in one store. The helper has
    // no precondition.
    unsafe {
        let fresh = atomic::load(&raw const (*entry).fresh);
        if fresh == 0 || !is_fresh(fresh, milliseconds(bpf_ktime_get_coarse_ns())) {
            return ALONE;
        }
        atomic::load(&raw const (*entry).band)
    }
}
