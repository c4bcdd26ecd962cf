//! The ends of charges, and what is told of them while somebody reads it.

use balancer_common::{
    charge::{self, Charge},
    layout::{EndedBy, TCP, Told},
};

use crate::{
    atomic, charges, maps,
    trace::{self, room},
};

/// What is told of the end of a charge beside what its record says.
#[derive(Clone, Copy)]
pub struct End {
    /// What ends it.
    pub by: EndedBy,
    /// The states of TCP before and after.
    pub states: [u8; 2],
    /// [`TraceEvent::flags`](balancer_common::layout::TraceEvent::flags).
    pub flags: u8,
    /// Bytes that were acknowledged and received.
    pub bytes: [u64; 2],
}

impl End {
    /// An end of which only that is known.
    pub const fn by(by: EndedBy) -> Self {
        Self { by, states: [0; 2], flags: 0, bytes: [0; 2] }
    }
}

/// Ends the charge of a socket, if it has one, and lowers the counter.
#[inline(always)]
pub fn end(cookie: u64, by: EndedBy) {
    let Some(charge) = charges::find(cookie) else { return };
    end_this(charge, || End::by(by));
}

/// Ends a charge and lowers the counter. True for the one caller that ended it.
#[inline(always)]
pub fn end_this(charge: Charge, end: impl FnOnce() -> End) -> bool {
    if !trace::is_on() {
        return charges::end_this(charge);
    }
    let End { by, states: [from, to], flags, bytes: [acked, received] } = end();
    let how = u32::from_le_bytes([by as u8, from, to, flags]);
    balancer_ended(charge.index, charge.word, how, acked, received) != 0
}

/// [`end_this`], which is told; 1 for the one caller that ended it. The record is read before: its
/// place may have gone to another socket afterwards.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_ended(
    index: u32,
    word: u64,
    how: u32,
    acked: u64,
    received: u64,
) -> u32 {
    let charge = Charge { index, word };
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return 0 };
    // SAFETY: `record` is a map value. Read before it is known that the charge still stands.
    let (addr, local, local_port, port, service, tgid, since) = unsafe {
        (
            atomic::load(&raw const (*record).addr),
            atomic::load(&raw const (*record).local_addr),
            atomic::load(&raw const (*record).local_port),
            atomic::load(&raw const (*record).port),
            atomic::load(&raw const (*record).service),
            atomic::load(&raw const (*record).tgid),
            atomic::load(&raw const (*record).since),
        )
    };
    if !charges::end_this(charge) {
        return 0;
    }
    let backend = charge.backend();
    let protocol = match maps::BACKENDS.get_ptr(backend) {
        // SAFETY: `entry` is a map value.
        Some(entry) => unsafe { (*entry).protocol },
        None => 0,
    };
    let Some(mut entry) = room(Told::End) else { return 1 };
    let event = entry.as_mut_ptr();
    let [by, from, to, flags] = how.to_le_bytes();
    // SAFETY: the event is the caller's until it is submitted.
    unsafe {
        (*event).cookie = charge::cookie_of(word);
        (*event).word = word;
        (*event).age = if since == 0 { 0 } else { (*event).at.saturating_sub(since) };
        (*event).acked = acked;
        (*event).received = received;
        (*event).addr = addr;
        // A record of UDP has something else there.
        if protocol == TCP {
            (*event).local = local;
            (*event).local_port = local_port;
        }
        (*event).port = port;
        (*event).service = service;
        (*event).backend = backend;
        (*event).tgid = tgid;
        (*event).protocol = protocol;
        (*event).how = by;
        (*event).from_state = from;
        (*event).to_state = to;
        (*event).flags = flags;
    }
    entry.submit(0);
    1
}

/// Tells that a socket, whose charge has ended, has left a state of TCP for another one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_state(cookie: u64, states: u32, acked: u64, received: u64) -> u32 {
    let Some(mut entry) = room(Told::State) else { return 0 };
    let event = entry.as_mut_ptr();
    let [from, to, _, _] = states.to_le_bytes();
    // SAFETY: the event is the caller's until it is submitted.
    unsafe {
        (*event).cookie = cookie;
        (*event).acked = acked;
        (*event).received = received;
        (*event).from_state = from;
        (*event).to_state = to;
    }
    entry.submit(0);
    1
}
