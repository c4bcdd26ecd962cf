//! The charges of UDP sockets.
//!
//! Threads send over one socket without a lock, and each of them may charge it, or end its charge, at
//! any moment. So the record is written while the place in the table is claimed and nobody finds it,
//! and never after the charge is published: what must differ is a new charge with a new record.

use aya_ebpf::{bindings::bpf_sock_addr, helpers::bpf_get_netns_cookie};
use balancer_common::{
    charge::{self, Charge},
    layout::{RecordState, UdpRecord},
};

use crate::{atomic, charges, family::Destination, maps, rows::lower};

/// Which Service a socket sends to, and in which row its backend was found.
#[derive(Clone, Copy)]
pub struct Way {
    /// What was dialled.
    pub to: Destination,
    /// The Service.
    pub service: u32,
    /// The word of its row.
    pub row: u64,
    /// [`RESTRICTED`](balancer_common::layout::RESTRICTED) where only some clients may use what was
    /// dialled, else 0.
    pub restricted: u32,
}

/// Charges a socket to a backend whose counter was raised for it. `None` where the table is full; the
/// counter is the caller's then.
#[inline(always)]
pub fn charge(
    sock: *mut bpf_sock_addr,
    cookie: u64,
    backend: u32,
    way: Way,
    state: RecordState,
) -> Option<Charge> {
    let index = charges::found(balancer_claim(cookie, backend))?;
    write(sock, index, way, state);
    let claim = Charge { index, word: charge::claimed(cookie, backend) };
    charges::publish(claim)
}

#[inline(always)]
fn write(sock: *mut bpf_sock_addr, index: u32, way: Way, state: RecordState) {
    let Some(record) = maps::RECORDS.get_ptr_mut(charge::record_of(index)) else { return };
    let record = record.cast::<UdpRecord>();
    // SAFETY: `record` is a map value, and the claim makes the caller its only writer. The context
    // belongs to a socket. Volatile: the compiler makes one call of writing zeros side by side, to a
    // function that writes them byte by byte.
    unsafe {
        (*record).addr = way.to.addr;
        (*record).port = way.to.port;
        (*record).state = state as u16;
        (*record).service = way.service;
        (&raw mut (*record).tgid).write_volatile(0);
        (&raw mut (*record).zero).write_volatile(0);
        (&raw mut (*record).restricted).write_volatile(way.restricted as u16);
        (&raw mut (*record).row).write_volatile(way.row);
        (&raw mut (*record).zeros).write_volatile(0);
        (&raw mut (*record).netns).write_volatile(bpf_get_netns_cookie(sock.cast()));
        (&raw mut (*record).since).write_volatile(0);
    }
}

/// The flow in the record of a socket that sends without being connected, if it is to `to`.
#[inline(always)]
pub fn flow(charge: Charge, to: Destination) -> Option<Way> {
    let record = maps::RECORDS.get_ptr(charge.record())?.cast::<UdpRecord>();
    // SAFETY: `record` is a map value. Read before it is known that the charge still stands.
    let (addr, port, state, service, restricted, row) = unsafe {
        (
            atomic::load(&raw const (*record).addr),
            atomic::load(&raw const (*record).port),
            atomic::load(&raw const (*record).state),
            atomic::load(&raw const (*record).service),
            atomic::load(&raw const (*record).restricted),
            atomic::load(&raw const (*record).row),
        )
    };
    let same = state == RecordState::Unconnected as u16 && addr == to.addr && port == to.port;
    if same && charges::stands(charge) {
        Some(Way { to, service, row, restricted: restricted as u32 })
    } else {
        None
    }
}

/// The row in the record of a socket that sends to a Service without being connected, if it is that
/// Service that it is charged for.
#[inline(always)]
pub fn row(charge: Charge, to: Destination, service: u32) -> Option<u64> {
    let way = flow(charge, to)?;
    if way.service == service { Some(way.row) } else { None }
}

/// No charge, where a socket had none.
pub const NO_CHARGE: Charge = Charge { index: charges::NONE, word: 0 };

/// What became of a charge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It stands.
    Charged,
    /// The table is full. The counter was lowered.
    Full,
    /// Another thread was first. The counter was lowered.
    Raced,
}

/// Charges a socket that is not connected to a backend whose counter was raised for it, in the place of
/// the charge that it had, if it had one. The old one stands until then, so that other threads always
/// find one of both.
#[inline(always)]
pub fn settle(
    sock: *mut bpf_sock_addr,
    cookie: u64,
    backend: u32,
    way: Way,
    old: Charge,
) -> Settled {
    let Some(new) = charge(sock, cookie, backend, way, RecordState::Unconnected) else {
        lower(backend);
        return Settled::Full;
    };
    let stands =
        if old.word != 0 { charges::end_this(old) } else { !charges::has_other(cookie, new.index) };
    if stands {
        return Settled::Charged;
    }
    charges::end_this(new);
    Settled::Raced
}

/// [`charges::claim`]: the index, or [`charges::NONE`].
///
/// A function of its own with a name that the linker keeps, so that the verifier follows it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_claim(cookie: u64, backend: u32) -> u32 {
    charges::claim(cookie, backend).map_or(charges::NONE, |claim| claim.index)
}
