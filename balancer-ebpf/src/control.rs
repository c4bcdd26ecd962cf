//! What programs must look at beyond the Service.

use balancer_common::layout::Control;

use crate::{atomic, maps};

/// The one value of the map, read at once.
#[inline(always)]
pub fn control() -> Control {
    let Some(control) = maps::CONTROL.get_ptr(0) else {
        return Control { opted_out_levels: 0, suspects: 0 };
    };
    // SAFETY: a map value of 8 bytes, aligned to 8. Little endian: the first half is the lower one.
    let word = unsafe { atomic::load(control.cast::<u64>()) };
    Control { opted_out_levels: word as u32, suspects: (word >> 32) as u32 }
}
