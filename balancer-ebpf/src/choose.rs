//! Which backend of a Service a socket gets: by its policy, or the one its client had before.
//!
//! The usual case, least connections without anything else, is [`least`] and stays in the hooks.
//! Everything else is behind functions with a name that the linker keeps, which the verifier checks
//! once and the usual case jumps over.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_get_netns_cookie};
use balancer_common::{
    choice::{Table as _, below, pair, sample},
    layout::{
        ClientKey, Control, How, KEEPS_SUSPECTS, MAX_SCAN, PAD_BACKEND, Pin, Row, SEATS, STAYS,
        Service, TICK_SHIFT, ticks,
    },
    policy::Policy,
    seat::{self, Seats},
    suspect::SUSPECT,
};

use crate::{
    atomic,
    level::band,
    maps,
    reserve::{NONE, balancer_scan, random, reserve},
    rows::{Sampled, Scanned, lower, raise},
    suspects::{self, balancer_trial, is_one as is_suspect},
    weigh::{balancer_weigh, now},
};

/// Chooses a backend and raises its counter: the backend, with what chose it ([`How`]) above.
/// `sock` is the context of the hook.
#[inline(always)]
pub fn choose<C>(
    sock: *mut C,
    service: u32,
    entry: *const Service,
    row: Row,
    control: Control,
) -> Option<u64> {
    // SAFETY: the context belongs to a socket.
    let client = || unsafe { bpf_get_netns_cookie(sock.cast()) };
    choose_for(client, service, entry, row, control)
}

/// The same for a client that session affinity knows by a number.
#[inline(always)]
pub fn choose_for(
    client: impl FnOnce() -> u64,
    service: u32,
    entry: *const Service,
    row: Row,
    control: Control,
) -> Option<u64> {
    // SAFETY: `entry` is a map value; each word stands for itself.
    let (policy, affinity, slow_start, seated) = unsafe {
        (
            atomic::load(&raw const (*entry).policy),
            atomic::load(&raw const (*entry).affinity),
            atomic::load(&raw const (*entry).slow_start),
            atomic::load(&raw const (*entry).seated),
        )
    };
    if policy & !STAYS | affinity | slow_start | seated | control.suspects == 0 {
        return least(row, band(entry)).map(u64::from);
    }
    let answer = if affinity == 0 {
        balancer_choose(service, row.base, row.len)
    } else {
        balancer_pinned(client(), service, row.base, row.len)
    };
    if answer == NONE { None } else { Some(answer) }
}

#[inline(always)]
fn least(row: Row, band: u64) -> Option<u32> {
    reserve(|| balancer_scan(row.base, row.len, band))
}

/// Set beside a backend that a connection is to try.
const TRIAL: u64 = How::Trial.mark();
/// Set beside a backend at which a seat was kept.
const SEAT: u64 = How::Seat.mark();
/// Set beside a backend that its client stays with.
const STAYED: u64 = How::Affinity.mark();

/// The seats of a Service.
struct Words(*mut u32);

impl Seats for Words {
    #[inline(always)]
    fn load(&self, index: usize) -> u32 {
        // SAFETY: one of the words of a map value: the index is kept inside them.
        unsafe { atomic::load(self.0.add(index.min(SEATS - 1))) }
    }

    #[inline(always)]
    fn swap(&self, index: usize, old: u32, new: u32) -> bool {
        // SAFETY: as above.
        unsafe { atomic::swap(self.0.add(index.min(SEATS - 1)), old, new) }
    }
}

/// A backend of the row of a Service at which a seat was kept, with its counter raised; [`NONE`] if there
/// is none. One that has left the row meanwhile, or has become suspect, is given up.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_seat(service: u32, base: u32, len: u32) -> u64 {
    let Some(entry) = maps::SERVICES.get_ptr_mut(service) else { return NONE };
    // SAFETY: `entry` is a map value.
    let words = Words(unsafe { &raw mut (*entry).seats }.cast());
    let backend = seat::take(&words);
    if backend == PAD_BACKEND || !holds(base, len, backend) || is_suspect(backend) {
        return NONE;
    }
    raise(backend);
    backend as u64
}

/// A backend by the policy of a Service, with its counter raised, or [`NONE`]: where a seat is
/// kept, that one, with [`SEAT`]. One that is suspect only where all are, or with [`TRIAL`] where
/// this connection is to try it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_choose(service: u32, base: u32, len: u32) -> u64 {
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return NONE };
    // SAFETY: `entry` is a map value.
    if unsafe { atomic::load(&raw const (*entry).seated) } != 0 {
        let seat = balancer_seat(service, base, len);
        if seat != NONE {
            return seat | SEAT;
        }
    }
    // SAFETY: as above.
    let keeps = unsafe { atomic::load(&raw const (*entry).policy) } & KEEPS_SUSPECTS != 0;
    let looks = !keeps && len > 1 && suspects::are_any();
    if looks {
        let trial = balancer_trial(service, base, len);
        if trial != NONE {
            return trial | TRIAL;
        }
    }
    let chosen = balancer_by_policy(service, base, len);
    if chosen == NONE || !looks || !is_suspect(chosen as u32) {
        return chosen;
    }
    // By a policy that does not look at counters. Instead of a suspect the one with the fewest.
    let Some(instead) = least(Row { base, len }, band(entry)) else { return chosen };
    let given_back = if is_suspect(instead) { instead } else { chosen as u32 };
    lower(given_back);
    if given_back == instead { chosen } else { instead as u64 }
}

/// A backend by the policy of a Service, suspect or not, with its counter raised, or [`NONE`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_by_policy(service: u32, base: u32, len: u32) -> u64 {
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
    let keeps = policy & KEEPS_SUSPECTS != 0;
    // Where suspects are kept, they are compared like all others.
    let mask = if keeps { !SUSPECT } else { u32::MAX };
    let backend = match Policy::from_raw(policy as u8) {
        Some(Policy::PowerOfTwo) => pair(&Sampled::masked(row, mask)?, row.len, random),
        Some(Policy::RoundRobin) => {
            // SAFETY: `entry` is a map value.
            let turn = unsafe { atomic::fetch_increment(&raw mut (*entry).cursor) };
            Sampled::new(row)?.slot(if row.len == 0 { 0 } else { turn % row.len }).backend
        }
        Some(Policy::Random) => Sampled::new(row)?.slot(below(random(), row.len)).backend,
        // Longer rows are sampled, whatever the weights: nobody scans them.
        _ if row.len > MAX_SCAN && keeps => {
            sample(&Sampled::masked(row, mask)?, row.len, random)?.backend
        }
        policy => {
            let weighs = policy.unwrap_or_default().weighs(slow_start, keeps);
            let weighs = weighs && row.len <= MAX_SCAN;
            let band = band(entry);
            return reserve(|| {
                if weighs {
                    balancer_weigh(row.base, row.len, slow_start, u32::from(keeps), band)
                } else {
                    balancer_scan(row.base, row.len, band)
                }
            });
        }
    };
    raise(backend);
    Some(backend)
}

/// The backend that a client had before, where it is still usable, else one by the policy, which
/// the client then stays with. With its counter raised; [`NONE`] if there is none. What a client is to
/// try it stays with only once it has answered ([`pin_trial`]).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_pinned(netns: u64, service: u32, base: u32, len: u32) -> u64 {
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return NONE };
    // SAFETY: `entry` is a map value; each word stands for itself.
    let (group, affinity) = unsafe {
        (atomic::load(&raw const (*entry).group), atomic::load(&raw const (*entry).affinity))
    };
    let key = ClientKey { netns, group, zero: 0 };
    // The time is asked for where it is needed: kept, it would take stack, of which all calls of a hook
    // have 512 bytes.
    let Some(known) = maps::AFFINITY.get_ptr_mut(key) else {
        let backend = balancer_choose(service, base, len);
        let pin = Pin { backend: backend as u32, used: now() };
        if is_not_kept(backend)
            || maps::AFFINITY.insert(key, pin.pack(), BPF_NOEXIST as u64).is_ok()
        {
            return backend;
        }
        // Another socket of the client was first.
        let Some(known) = maps::AFFINITY.get_ptr(key) else { return backend };
        // SAFETY: `known` is a map value.
        return instead(backend as u32, unsafe { atomic::load(known) }, base, len);
    };
    // SAFETY: `known` is a map value.
    let word = unsafe { atomic::load(known) };
    let pin = Pin::unpack(word);
    let stays = pin.is_fresh(now(), ticks(affinity)) && holds(base, len, pin.backend);
    if stays && !gives_way(service, pin.backend) {
        raise(pin.backend);
        // SAFETY: as above. Who loses the race was beaten by another use of the same pin.
        unsafe { atomic::swap(known, word, Pin { used: now(), ..pin }.pack()) };
        return pin.backend as u64 | STAYED;
    }
    let mut backend = balancer_choose(service, base, len);
    if is_not_kept(backend) {
        return backend;
    }
    if stays && is_suspect(backend as u32) {
        // All are: it may as well stay.
        lower(backend as u32);
        raise(pin.backend);
        backend = pin.backend as u64 | STAYED;
    }
    let pin = Pin { backend: backend as u32, used: now() };
    // SAFETY: as above.
    if unsafe { atomic::swap(known, word, pin.pack()) } {
        return backend;
    }
    // SAFETY: as above.
    instead(backend as u32, unsafe { atomic::load(known) }, base, len)
}

/// True for an answer of [`balancer_choose`] that a client is not pinned to.
#[inline(always)]
const fn is_not_kept(answer: u64) -> bool {
    answer & TRIAL != 0
}

/// Pins the client of a connection, whose SYN was sent at `sent`, to the backend that it tried and that
/// has answered; not where another of its connections has found one meanwhile.
#[inline(always)]
pub fn pin_trial(netns: u64, service: u32, backend: u32, sent: u64) {
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return };
    // SAFETY: `entry` is a map value; each word stands for itself.
    let (group, affinity) = unsafe {
        (atomic::load(&raw const (*entry).group), atomic::load(&raw const (*entry).affinity))
    };
    if affinity == 0 {
        return;
    }
    let key = ClientKey { netns, group, zero: 0 };
    let pin = Pin { backend, used: now() }.pack();
    let Some(known) = maps::AFFINITY.get_ptr_mut(key) else {
        let _ = maps::AFFINITY.insert(key, pin, BPF_NOEXIST as u64);
        return;
    };
    // SAFETY: `known` is a map value.
    let word = unsafe { atomic::load(known) };
    let before = Pin::unpack(word);
    if before.is_before((sent >> TICK_SHIFT) as u32) || is_suspect(before.backend) {
        // SAFETY: as above. Who loses the race was beaten by another use of the same pin.
        unsafe { atomic::swap(known, word, pin) };
    }
}

/// True where a client does not stay with its backend, since that has just failed.
#[inline(always)]
fn gives_way(service: u32, backend: u32) -> bool {
    if !suspects::are_any() || !is_suspect(backend) {
        return false;
    }
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return false };
    // SAFETY: `entry` is a map value.
    unsafe { atomic::load(&raw const (*entry).policy) & KEEPS_SUSPECTS == 0 }
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
    pinned as u64 | STAYED
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
