//! Which backend of a Service a socket gets: by its policy, or the one its client had before.
//!
//! The usual case, least connections without anything else, is [`least`] and stays in the hooks.
//! Everything else is behind functions with a name that the linker keeps, which the verifier checks
//! once and the usual case jumps over.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_netns_cookie, bpf_ktime_get_ns},
};
use balancer_common::{
    choice::{self, Draw, Table as _, below, pair},
    layout::{ClientKey, MAX_SCAN, Pin, Row, Service, TICK_SHIFT, ticks},
    policy::Policy,
    weighted::{self, SlowStart},
};

use crate::{
    atomic, maps,
    reserve::{CHANGED, NONE, balancer_scan, packed, random, reserve},
    rows::{Sampled, Scanned, Weighed, lower, raise},
};

/// Chooses a backend and raises its counter. `sock` is the context of the hook.
#[inline(always)]
pub fn choose<C>(sock: *mut C, service: u32, entry: *const Service, row: Row) -> Option<u32> {
    // SAFETY: `entry` is a map value; each word stands for itself.
    let (policy, affinity, slow_start) = unsafe {
        (
            atomic::load(&raw const (*entry).policy),
            atomic::load(&raw const (*entry).affinity),
            atomic::load(&raw const (*entry).slow_start),
        )
    };
    if policy | affinity | slow_start == 0 {
        return least(row);
    }
    let answer = if affinity == 0 {
        balancer_choose(service, row.base, row.len)
    } else {
        // SAFETY: the context belongs to a socket.
        let netns = unsafe { bpf_get_netns_cookie(sock.cast()) };
        balancer_pinned(netns, service, row.base, row.len)
    };
    if answer == NONE { None } else { Some(answer as u32) }
}

#[inline(always)]
fn least(row: Row) -> Option<u32> {
    reserve(|| balancer_scan(row.base, row.len))
}

/// A backend by the policy of a Service, with its counter raised, or [`NONE`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_choose(service: u32, base: u32, len: u32) -> u64 {
    match by_policy(service, Row { base, len }) {
        Some(backend) => backend as u64,
        None => NONE,
    }
}

#[inline(always)]
fn by_policy(service: u32, row: Row) -> Option<u32> {
    let entry = maps::SERVICES.get_ptr_mut(service)?;
    // SAFETY: `entry` is a map value; each word stands for itself.
    let (policy, slow_start) = unsafe {
        (atomic::load(&raw const (*entry).policy), atomic::load(&raw const (*entry).slow_start))
    };
    let backend = match Policy::from_raw(policy as u8) {
        Some(Policy::PowerOfTwo) => pair(&Sampled::new(row)?, row.len, random),
        Some(Policy::RoundRobin) => {
            // SAFETY: `entry` is a map value.
            let turn = unsafe { atomic::fetch_increment(&raw mut (*entry).cursor) };
            Sampled::new(row)?.slot(if row.len == 0 { 0 } else { turn % row.len }).backend
        }
        Some(Policy::Random) => Sampled::new(row)?.slot(below(random(), row.len)).backend,
        policy => {
            let weighs = policy == Some(Policy::WeightedLeastConnections) || slow_start != 0;
            // Longer rows are sampled, whatever the weights: nobody scans them.
            let weighs = weighs && row.len <= MAX_SCAN;
            return reserve(|| {
                if weighs {
                    balancer_weigh(row.base, row.len, slow_start)
                } else {
                    balancer_scan(row.base, row.len)
                }
            });
        }
    };
    raise(backend);
    Some(backend)
}

/// Slots that are weighed in one go. Each of them calls a function, so that one more for so many costs
/// little.
const WEIGHED: u32 = 32;

/// The backend of a row with the fewest connections for its weight: a pick, [`NONE`] or
/// [`CHANGED`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_weigh(base: u32, len: u32, slow_start: u32) -> u64 {
    let (now, window, random) = (now(), ticks(slow_start), random());
    let clock = (now as u64) << 32 | window as u64;
    let part = |start, best| {
        balancer_weigh_part(base.wrapping_add(start), len - start, random, clock, best)
    };
    let Some((index, score)) = Draw::new(random).winner(choice::scan::<WEIGHED>(len, part)) else {
        return NONE;
    };
    let Some(row) = Weighed::new(base, SlowStart { now, window }) else { return NONE };
    match weighted::won(&row, index, score) {
        Ok(pick) => packed(pick),
        Err(weighted::Changed) => CHANGED,
    }
}

/// [`choice::part`] of a row from its slot at `base`, `len` from its end, by weight; `clock` is the time
/// and the window of the slow start, in ticks.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_weigh_part(
    base: u32,
    len: u32,
    random: u32,
    clock: u64,
    best: u64,
) -> u64 {
    let slow_start = SlowStart { now: (clock >> 32) as u32, window: clock as u32 };
    match Weighed::new(base, slow_start) {
        Some(row) => choice::part::<WEIGHED, _>(&row, len, Draw::new(random), best),
        None => best,
    }
}

/// Now, in ticks.
#[inline(always)]
fn now() -> u32 {
    // SAFETY: the helper has no precondition.
    (unsafe { bpf_ktime_get_ns() } >> TICK_SHIFT) as u32
}

/// The backend that a client had before, where it is still usable, else one by the policy, which
/// the client then stays with. With its counter raised; [`NONE`] if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_pinned(netns: u64, service: u32, base: u32, len: u32) -> u64 {
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return NONE };
    // SAFETY: `entry` is a map value; each word stands for itself.
    let (group, affinity) = unsafe {
        (atomic::load(&raw const (*entry).group), atomic::load(&raw const (*entry).affinity))
    };
    let key = ClientKey { netns, group, zero: 0 };
    let now = now();
    let Some(known) = maps::PINS.get_ptr_mut(key) else {
        let backend = balancer_choose(service, base, len);
        let pin = Pin { backend: backend as u32, used: now };
        if backend == NONE || maps::PINS.insert(key, pin.pack(), BPF_NOEXIST as u64).is_ok() {
            return backend;
        }
        // Another socket of the client was first.
        let Some(known) = maps::PINS.get_ptr(key) else { return backend };
        // SAFETY: `known` is a map value.
        return instead(backend as u32, unsafe { atomic::load(known) }, base, len);
    };
    // SAFETY: `known` is a map value.
    let word = unsafe { atomic::load(known) };
    let pin = Pin::unpack(word);
    if pin.is_fresh(now, ticks(affinity)) && holds(base, len, pin.backend) {
        raise(pin.backend);
        // SAFETY: as above. Who loses the race was beaten by another use of the same pin.
        unsafe { atomic::swap(known, word, Pin { used: now, ..pin }.pack()) };
        return pin.backend as u64;
    }
    let backend = balancer_choose(service, base, len);
    let pin = Pin { backend: backend as u32, used: now };
    // SAFETY: as above.
    if backend == NONE || unsafe { atomic::swap(known, word, pin.pack()) } {
        return backend;
    }
    // SAFETY: as above.
    instead(backend as u32, unsafe { atomic::load(known) }, base, len)
}

/// Gives a backend back and takes the one that the client was pinned to meanwhile.
#[inline(always)]
fn instead(backend: u32, word: u64, base: u32, len: u32) -> u64 {
    let pinned = Pin::unpack(word).backend;
    if pinned == backend || !holds(base, len, pinned) {
        return backend as u64;
    }
    raise(pinned);
    lower(backend);
    pinned as u64
}

/// Parts of [`HELD_PART`] slots in which a row is searched. A client of a Service with more backends
/// than all of them hold, 16,384, may lose its backend.
const HELD_PARTS: u32 = 128;
const HELD_PART: u32 = 128;

/// True if a row has a backend.
#[inline(always)]
pub fn holds(base: u32, len: u32, backend: u32) -> bool {
    balancer_holds(base, len, backend) != 0
}

/// 1 if a row has a backend, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_holds(base: u32, len: u32, backend: u32) -> u32 {
    let mut part = 0;
    while part < HELD_PARTS {
        let start = part * HELD_PART;
        if start >= len {
            break;
        }
        if balancer_holds_part(base.wrapping_add(start), len - start, backend) != 0 {
            return 1;
        }
        part += 1;
    }
    0
}

/// 1 if `backend` is among the first slots from `base`, at most `len` and [`HELD_PART`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_holds_part(base: u32, len: u32, backend: u32) -> u32 {
    let Some(row) = Scanned::new(base) else { return 0 };
    let mut index = 0;
    while index < HELD_PART {
        if index >= len {
            return 0;
        }
        if row.slot(index).backend == backend {
            return 1;
        }
        index += 1;
    }
    0
}
