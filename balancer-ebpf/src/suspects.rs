//! Backends that have just failed: `balancer_common::suspect` over map memory.
//!
//! Everything here is behind functions with a name that the linker keeps: it runs only where a
//! connection fails or some backend of the node is suspect.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use balancer_common::{
    choice::{Table as _, below},
    layout::{Backend, KEEPS_SUSPECTS, MAX_SCAN, PAD_BACKEND},
    suspect::{self, Judged, SUSPECT, is_suspect},
};

use crate::{
    atomic,
    control::control,
    maps,
    reserve::{NONE, random},
    rows::{Scanned, counter, raise},
};

struct Entry {
    backend: *mut Backend,
    counter: *mut u32,
}

impl Entry {
    #[inline(always)]
    fn of(backend: u32) -> Option<Self> {
        let entry = maps::BACKENDS.get_ptr_mut(backend)?;
        Some(Self { backend: entry, counter: counter(backend)? })
    }
}

impl Judged for Entry {
    #[inline(always)]
    fn until(&self) -> u64 {
        // SAFETY: a map value.
        unsafe { atomic::load(&raw const (*self.backend).suspect_until) }
    }

    #[inline(always)]
    fn swap_until(&self, old: u64, new: u64) -> bool {
        // SAFETY: a map value.
        unsafe { atomic::swap(&raw mut (*self.backend).suspect_until, old, new) }
    }

    #[inline(always)]
    fn since(&self) -> u64 {
        // SAFETY: a map value.
        unsafe { atomic::load(&raw const (*self.backend).failed_at) }
    }

    #[inline(always)]
    fn failures(&self) -> u32 {
        // SAFETY: a map value.
        unsafe { atomic::load(&raw const (*self.backend).failures) }
    }

    #[inline(always)]
    fn note(&self, since: u64, failures: u32) {
        // SAFETY: a map value; each word stands for itself.
        unsafe {
            (&raw mut (*self.backend).failed_at).write_volatile(since);
            (&raw mut (*self.backend).failures).write_volatile(failures);
        }
    }

    #[inline(always)]
    fn begin(&self) {
        let Some(control) = maps::CONTROL.get_ptr_mut(0) else { return };
        // SAFETY: map values.
        unsafe {
            atomic::increment(&raw mut (*control).suspects);
            atomic::add(self.counter, SUSPECT);
            atomic::increment(&raw mut (*self.backend).suspected);
        }
    }

    #[inline(always)]
    fn end(&self) {
        let Some(control) = maps::CONTROL.get_ptr_mut(0) else { return };
        // SAFETY: map values.
        unsafe {
            atomic::decrement(&raw mut (*control).suspects);
            atomic::sub(self.counter, SUSPECT);
        }
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// A connection of a Service to a backend, whose SYN was sent at `sent`, has failed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_failed(backend: u32, service: u32, sent: u64) -> u32 {
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return 0 };
    // SAFETY: `entry` is a map value.
    if unsafe { atomic::load(&raw const (*entry).policy) } & KEEPS_SUSPECTS != 0 {
        return 0;
    }
    let Some(entry) = Entry::of(backend) else { return 0 };
    // SAFETY: a map value. Of a backend that was removed meanwhile nothing is remembered.
    if unsafe { (*entry.backend).in_use } != 0 {
        suspect::failed(&entry, sent, now());
    }
    0
}

/// True if some backend of the node is suspect.
#[inline(always)]
pub fn are_any() -> bool {
    control().suspects != 0
}

/// A connection to a backend was established: 1 for the one caller that ended that it is suspect.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_established(backend: u32) -> u32 {
    match Entry::of(backend) {
        Some(entry) => suspect::established(&entry) as u32,
        None => 0,
    }
}

/// True for a backend that is suspect.
#[inline(always)]
pub fn is_one(backend: u32) -> bool {
    // SAFETY: `counter` points into its slab.
    counter(backend).is_some_and(|counter| is_suspect(unsafe { atomic::load(counter) }))
}

/// Slots that are looked at in one go.
const PART: u32 = 64;
/// Parts of a row that are looked through: the longest row that is scanned.
const PARTS: u32 = MAX_SCAN / PART;
const _: () = assert!(MAX_SCAN.is_multiple_of(PART));

/// A suspect backend of the row of a Service whose pause is over, for the one connection that is to try
/// it, with its counter raised; [`NONE`] if there is none, or none was in this moment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_trial(service: u32, base: u32, len: u32) -> u64 {
    let now = now();
    let Some(entry) = maps::SERVICES.get_ptr_mut(service) else { return NONE };
    // SAFETY: `entry` is a map value.
    let looked = unsafe { &raw mut (*entry).looked };
    // SAFETY: as above.
    if unsafe { atomic::load(looked) } == suspect::moment(now) {
        return NONE;
    }
    // Of a row that is too long, other slots each time: no suspect is left untried for ever.
    let skipped = if len > MAX_SCAN { below(random(), len - MAX_SCAN + 1) } else { 0 };
    let (base, len) = (base.wrapping_add(skipped), len - skipped);
    let mut part = 0;
    while part < PARTS {
        let start = part * PART;
        if start >= len {
            break;
        }
        let backend = balancer_trial_part(base.wrapping_add(start), len - start, now);
        if backend != PAD_BACKEND {
            raise(backend);
            return backend as u64;
        }
        part += 1;
    }
    // SAFETY: as above. Of several that look at once each says the same.
    unsafe { looked.write_volatile(suspect::moment(now)) };
    NONE
}

/// One of the first slots from `base`, at most `len` and [`PART`]; [`PAD_BACKEND`] for none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_trial_part(base: u32, len: u32, now: u64) -> u32 {
    let Some(row) = Scanned::new(base) else { return PAD_BACKEND };
    let mut index = 0;
    while index < PART {
        if index >= len {
            break;
        }
        let backend = row.slot(index).backend;
        if is_suspect(row.active(backend)) && balancer_may_try(backend, now) != 0 {
            return backend;
        }
        index += 1;
    }
    PAD_BACKEND
}

/// 1 for the one caller that is to try a backend.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_may_try(backend: u32, now: u64) -> u32 {
    match Entry::of(backend) {
        Some(entry) => suspect::may_try(&entry, now) as u32,
        None => 0,
    }
}
