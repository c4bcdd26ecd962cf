//! Tells what was chosen, while somebody reads it.
//!
//! Everything here is behind functions with a name that the linker keeps, and runs only where the
//! word that programs read anyway says so. What is told of the row is looked at after the choice:
//! another connection may have come between.

use aya_ebpf::{
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::bpf_get_current_comm,
    },
    maps::ring_buf::RingBufEntry,
};
use balancer_common::{
    choice::Table as _,
    layout::{
        CLUSTER_FRACTION, How, MAX_SCAN, OF_ALL_NODES, PAD_BACKEND, Row, TRACE_WINDOW_SHIFT,
        TRACED, Told, TraceEvent,
    },
    suspect::SUSPECT,
    verdict::Verdict,
};

use crate::{
    atomic,
    control::control,
    family::Destination,
    level::{ALONE, band},
    maps,
    opaque::opaque,
    rows::{Scanned, counter_at},
};

/// Words of an event.
const WORDS: usize = size_of::<TraceEvent>() / 8;

/// True while somebody reads.
#[inline(always)]
pub fn is_on() -> bool {
    control().is_traced()
}

/// 1 where something of a kind, a bit of [`Told`], may be told now. What the budget has no room for
/// is counted.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_admitted(bit: u32) -> u32 {
    let Some(trace) = maps::TRACE.get_ptr_mut(0) else { return 0 };
    // SAFETY: `trace` is a map value; each word stands for itself. The helper has no precondition.
    let (now, until, wanted, budget) = unsafe {
        (
            bpf_ktime_get_ns(),
            atomic::load(&raw const (*trace).until),
            atomic::load(&raw const (*trace).wanted),
            atomic::load(&raw const (*trace).budget),
        )
    };
    if now >= until {
        switch_off();
        return 0;
    }
    if wanted & bit == 0 {
        return 0;
    }
    let window = now >> TRACE_WINDOW_SHIFT << 32;
    // SAFETY: `trace` is a map value.
    unsafe {
        let held = atomic::load(&raw const (*trace).window);
        if held >> 32 << 32 != window {
            // Who loses the race was beaten by another event of the same window.
            atomic::swap(&raw mut (*trace).window, held, window);
        }
        if atomic::fetch_increment64(&raw mut (*trace).window) as u32 >= budget {
            atomic::increment(&raw mut (*trace).capped);
            return 0;
        }
    }
    1
}

/// Room for an event of a kind, all zeros but for that and the time. `None` where it is not to be
/// told, and where the ring buffer has no room, which is counted.
#[inline(always)]
pub fn room(told: Told) -> Option<RingBufEntry<TraceEvent>> {
    if balancer_admitted(told.bit()) == 0 {
        return None;
    }
    let mut entry = reserve()?;
    // SAFETY: the event is the caller's until it is submitted.
    unsafe { (*entry.as_mut_ptr()).kind = told as u8 };
    Some(entry)
}

#[inline(always)]
fn reserve() -> Option<RingBufEntry<TraceEvent>> {
    let Some(mut entry) = maps::EVENTS.reserve(0) else {
        if let Some(trace) = maps::TRACE.get_ptr_mut(0) {
            // SAFETY: a map value.
            unsafe { atomic::increment(&raw mut (*trace).full) };
        }
        return None;
    };
    let event = entry.as_mut_ptr();
    let mut word = 0;
    while word < WORDS {
        // SAFETY: inside the event. Volatile: see `connect::dialled`.
        unsafe { event.cast::<u64>().add(word).write_volatile(0) };
        word += 1;
    }
    // SAFETY: as above; the helper has no precondition.
    unsafe { (*event).at = bpf_ktime_get_ns() };
    Some(entry)
}

/// Whoever read has not said for long that it still does: its agent is gone.
#[inline(always)]
fn switch_off() {
    let Some(control) = maps::CONTROL.get_ptr_mut(0) else { return };
    // SAFETY: a map value. Who loses the race leaves it to the next event.
    unsafe {
        let levels = &raw mut (*control).opted_out_levels;
        let held = atomic::load(levels);
        atomic::swap(levels, held, held & !TRACED);
    }
}

/// [`Answered::chosen`] without a backend.
pub const NOBODY: u64 = PAD_BACKEND as u64;

/// What was answered to a socket that dialled something.
#[derive(Clone, Copy)]
pub struct Answered {
    /// What it dialled.
    pub to: Destination,
    /// By which protocol.
    pub protocol: u32,
    /// The answer.
    pub verdict: Verdict,
    /// The Service.
    pub service: u32,
    /// The backend, with what chose it above.
    pub chosen: u64,
    /// Cookie of the socket.
    pub cookie: u64,
}

impl Answered {
    /// Tells it, with what the row of the Service has.
    #[inline(always)]
    pub fn tell(self) {
        if let Some([high, low, what, who]) = self.packed() {
            balancer_told(high, low, what, who, self.cookie);
        }
    }

    /// Tells it without: programs for datagrams have no room for more.
    #[inline(always)]
    pub fn tell_briefly(self) {
        if let Some([high, low, what, who]) = self.packed() {
            balancer_told_briefly(high, low, what, who, self.cookie);
        }
    }

    /// In a few words: a function of the kind that is verified once has five.
    #[inline(always)]
    fn packed(&self) -> Option<[u64; 4]> {
        let told = match self.verdict {
            Verdict::Balanced => Told::Choice,
            Verdict::NotService => Told::NoService,
            Verdict::SelfTest => return None,
            _ => Told::Refusal,
        };
        let [a, b, c, d] = self.to.addr;
        let what = self.to.port as u64
            | ((self.protocol & 0xff) as u64) << 16
            | (self.verdict as u64) << 24
            | (self.chosen >> How::SHIFT & 0xff) << 32
            | (told as u64) << 40;
        let (high, low) = (a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32);
        Some([high, low, what, (self.service as u64) << 32 | self.chosen as u32 as u64])
    }
}

/// [`Answered::tell`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_told(high: u64, low: u64, what: u64, who: u64, cookie: u64) -> u32 {
    told([high, low, what, who], cookie, row_of)
}

/// [`Answered::tell_briefly`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_told_briefly(
    high: u64,
    low: u64,
    what: u64,
    who: u64,
    cookie: u64,
) -> u32 {
    told([high, low, what, who], cookie, |_, _, _| {})
}

#[inline(always)]
fn told(
    [high, low, what, who]: [u64; 4],
    cookie: u64,
    row: impl FnOnce(*mut TraceEvent, u32, u32),
) -> u32 {
    let (service, backend, verdict) = ((who >> 32) as u32, who as u32, (what >> 24) as u8);
    let kind = (what >> 40) as u8;
    if balancer_admitted(1 << (kind & 7)) == 0 {
        return 0;
    }
    let Some(mut entry) = reserve() else { return 0 };
    let event = entry.as_mut_ptr();
    // SAFETY: the event is the caller's until it is submitted. The helpers have no precondition but
    // room for what they write.
    unsafe {
        (*event).kind = kind;
        (*event).cookie = cookie;
        (*event).service = service;
        (*event).backend = backend;
        (*event).cgroup = bpf_get_current_cgroup_id();
        (*event).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        (*event).addr = [high as u32, (high >> 32) as u32, low as u32, (low >> 32) as u32];
        (*event).port = what as u16;
        (*event).protocol = (what >> 16) as u8;
        (*event).verdict = verdict;
        (*event).how = (what >> 32) as u8;
        let comm = &raw mut (*event).comm;
        bpf_get_current_comm(comm.cast(), size_of::<[u8; 16]>() as u32);
    }
    if kind == Told::Choice as u8 {
        row(event, service, backend);
    }
    entry.submit(0);
    1
}

/// What the row of a Service has, of which a backend was chosen.
#[inline(always)]
fn row_of(event: *mut TraceEvent, service: u32, backend: u32) {
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return };
    let Some(counters) = maps::ACTIVE.get_ptr(0) else { return };
    // SAFETY: `entry` is a map value.
    let (row, policy) = unsafe {
        let row = Row::unpack(atomic::load(&raw const (*entry).row));
        (row, atomic::load(&raw const (*entry).policy))
    };
    // All bits where those of other nodes count.
    let of_all = if band(entry) == ALONE { 0 } else { u32::MAX };
    let least = balancer_least(row.base, row.len, backend, of_all);
    let counter = counter_at(counters.cast(), backend);
    // SAFETY: the event is the caller's until it is submitted.
    unsafe {
        (*event).active = (counter.active & !SUSPECT).saturating_sub(1);
        (*event).others = counter.others;
        (*event).policy = policy as u8;
        (*event).len = row.len;
        (*event).least = (least >> 32) as u32;
        (*event).tied = (least >> 16) as u16;
        (*event).usable = least as u16;
        (*event).flags = if of_all != 0 { OF_ALL_NODES } else { 0 };
    }
}

/// Slots that are looked at in one go.
const PART: u32 = 32;
const _: () = assert!(MAX_SCAN.is_multiple_of(PART));

/// The least that a backend of a row has which is not suspect, with 8 bits after the point, in the
/// upper half; below it how many have that, and how many are not suspect, 16 bits each. 0 for a row
/// that nobody scans. The connection that was led to `chosen` does not count; `of_all` is the mask
/// of what others have.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_least(base: u32, len: u32, chosen: u32, of_all: u32) -> u64 {
    if len > MAX_SCAN {
        return 0;
    }
    let mut best = NOTHING;
    let mut start = 0;
    while start < MAX_SCAN {
        if start >= len {
            break;
        }
        let (base, len) = (base.wrapping_add(start), (len - start) as u64);
        best = balancer_least_part(base, len << 32 | of_all as u64, chosen, best);
        start += PART;
    }
    if best == NOTHING { 0 } else { best }
}

/// Before a slot was looked at.
const NOTHING: u64 = (u32::MAX as u64) << 32;

/// [`balancer_least`] of the first slots from `base`, of which there are as many as the upper half
/// of `how` says. Without a branch for what is compared: the verifier would follow each.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_least_part(base: u32, how: u64, chosen: u32, best: u64) -> u64 {
    let (len, of_all) = ((how >> 32) as u32, how as u32);
    let Some(row) = Scanned::new(base) else { return best };
    let (mut least, mut tied, mut usable) = (best >> 32, best >> 16 & 0xffff, best & 0xffff);
    let mut index = 0;
    while index < PART {
        if index >= len {
            break;
        }
        let backend = row.slot(index).backend;
        index += 1;
        let counter = counter_at(row.counters(), backend);
        let active = counter.active as u64;
        // One less, where it is the one, unless its connection has ended already.
        let own = active - (is_zero((backend ^ chosen) as u64) & (is_zero(active) ^ 1));
        // What is suspect, and what pads the row, has this bit: its score is above all others.
        let lost = active & SUSPECT as u64;
        let others = (counter.others & of_all) as u64;
        let score = (own << CLUSTER_FRACTION) + others + (lost << 32);
        let less = is_negative(score.wrapping_sub(least));
        let same = is_zero(score ^ least);
        least = least.wrapping_add(score.wrapping_sub(least).wrapping_mul(less));
        tied = tied.wrapping_mul(less ^ 1) + (less | same);
        usable += is_zero(lost);
    }
    least << 32 | tied << 16 | usable
}

/// 1 where a number is below 0, else 0. The compiler is not told what it is: it would make a branch
/// of it.
#[inline(always)]
fn is_negative(number: u64) -> u64 {
    opaque(number >> 63)
}

/// 1 where a number is 0, else 0. Of numbers below 2 to the power of 63.
#[inline(always)]
fn is_zero(number: u64) -> u64 {
    is_negative(number.wrapping_sub(1))
}
