//! `connect()`: replace the Service address by the address of the least-loaded backend.

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::bpf_sock_addr,
    helpers::{bpf_get_socket_cookie, bpf_set_retval},
    programs::SockAddrContext,
};
use balancer_common::{
    layout::{Record, Row, TCP},
    verdict::Verdict,
};

use crate::{
    PROCEED, atomic, charges,
    family::{Destination, Family},
    maps, rows,
};

/// 1 where the kernel has `bpf_set_retval` (Linux 5.18); the loader sets it. Without it, what
/// should be refused is left untouched: the only other answer would be EPERM.
#[unsafe(no_mangle)]
static SET_RETVAL: Global<u8> = Global::new(1);

/// See [`crate::balancer_connect4`] and [`crate::balancer_connect6`].
#[inline(always)]
pub fn connect<F: Family>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the kernel hands in a valid context.
    let addr = unsafe { &mut *ctx.sock_addr };
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the entry points run each family on its own hook.
    let to = Destination { addr: unsafe { F::read(addr) }, port: addr.user_port as u16 };
    let frontend = F::frontend(to, addr.protocol as u8);
    // Whatever the answer is, a connection that this socket had before is over.
    charges::end(cookie);
    let Some(frontend) = frontend else { return PROCEED };
    if addr.protocol != TCP as u32 {
        return PROCEED;
    }
    answer(balance::<F>(addr, to, frontend.service, cookie))
}

#[inline(always)]
fn balance<F: Family>(
    addr: &mut bpf_sock_addr,
    to: Destination,
    service: u32,
    cookie: u64,
) -> Verdict {
    let Some(entry) = maps::SERVICES.get_ptr(service) else { return Verdict::Inconsistent };
    // SAFETY: `entry` is a map value; the agent replaces the word in one store.
    let row = Row::unpack(unsafe { atomic::load(&raw const (*entry).row) });
    if row.len == 0 {
        let not_local = row.base == Row::NOT_LOCAL.base;
        return if not_local { Verdict::NoLocalEndpoint } else { Verdict::NoEndpoint };
    }
    let Some(backend) = rows::reserve(row) else { return Verdict::Inconsistent };
    match charge::<F>(addr, to, service, backend, cookie) {
        Verdict::Balanced => Verdict::Balanced,
        failed => {
            if let Some(counter) = rows::counter(backend) {
                // SAFETY: `counter` points into its slab; the reservation above raised it.
                unsafe { atomic::decrement(counter) };
            }
            failed
        }
    }
}

/// Binds the socket to the backend that was reserved for it.
#[inline(always)]
fn charge<F: Family>(
    addr: &mut bpf_sock_addr,
    to: Destination,
    service: u32,
    backend: u32,
    cookie: u64,
) -> Verdict {
    let Some(entry) = maps::BACKENDS.get_ptr_mut(backend) else { return Verdict::Inconsistent };
    // SAFETY: `entry` is a map value; its address is constant while a row names the backend.
    let (ip, port, in_use) = unsafe { ((*entry).addr, (*entry).port, (*entry).in_use) };
    if in_use == 0 {
        return Verdict::Inconsistent;
    }
    let Some(charge) = charges::insert(cookie, backend) else {
        return Verdict::TooManyConnections;
    };
    if let Some(record) = maps::RECORDS.get_ptr_mut(charge.index) {
        let known = Record { addr: to.addr, port: to.port, sent: 0, service };
        // SAFETY: `record` is a map value; the charge makes this socket its only writer.
        unsafe { record.write(known) };
    }
    // SAFETY: `entry` is a map value.
    unsafe { atomic::increment(&raw mut (*entry).opened) };
    // SAFETY: as where the address was read.
    unsafe { F::write(addr, ip) };
    addr.user_port = port as u32;
    Verdict::Balanced
}

/// Counts a verdict and turns it into what the hook returns.
#[inline(always)]
fn answer(verdict: Verdict) -> i32 {
    if let Some(counter) = maps::VERDICTS.get_ptr_mut(verdict.counter()) {
        // SAFETY: a value of this processor; the hook can't be preempted by itself on it.
        unsafe { *counter += 1 };
    }
    match verdict.errno() {
        Some(errno) if SET_RETVAL.load() != 0 => {
            // SAFETY: cgroup hooks may set their return value.
            unsafe { bpf_set_retval(-errno) };
            0
        }
        _ => PROCEED,
    }
}
