//! Datagrams of UDP sockets that are not connected: each names its destination.
//!
//! A socket keeps the backend that its first datagram to a Service was given, as a connection would:
//! QUIC and many others need it. The flow ends when its backend is no longer usable; the next
//! datagram starts another one, so that nobody waits for a pod that is gone. A socket is charged
//! once, for the Service that it sent to first; further Services over the same socket choose by the
//! same counters but raise none, so that counts stay numbers of sockets.

use aya_ebpf::{
    EbpfContext as _, bindings::bpf_sock_addr, helpers::bpf_get_netns_cookie,
    helpers::bpf_get_socket_cookie, programs::SockAddrContext,
};
use balancer_common::{
    layout::{Flow, Frontend, PeerKey, RecordState, Reply, UDP},
    verdict::Verdict,
};

use crate::{
    PROCEED, admission,
    answer::answer,
    atomic, charges,
    choose::{choose, holds},
    connect::dialled,
    control::control,
    family::{Destination, Family},
    maps,
    rows::{lower, raise},
    target::Target,
};

/// See [`crate::balancer_sendmsg4`] and [`crate::balancer_sendmsg6`].
#[inline(always)]
pub fn sendmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the kernel hands in a valid context.
    let addr = unsafe { &mut *ctx.sock_addr };
    // SAFETY: the entry points run each family on its own hook.
    let to = Destination { addr: unsafe { F::read(addr) }, port: addr.user_port as u16 };
    // The protocol of UDP-Lite is another one, and no Service has it.
    let Some(frontend) = F::frontend(to, addr.protocol as u8) else { return PROCEED };
    if addr.protocol != UDP as u32 {
        return PROCEED;
    }
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    match send::<F>(addr, to, frontend, cookie) {
        Some(verdict) => answer(verdict),
        None => PROCEED,
    }
}

/// `None` for a datagram of a flow that goes on.
#[inline(always)]
fn send<F: Family>(
    addr: &mut bpf_sock_addr,
    to: Destination,
    frontend: &Frontend,
    cookie: u64,
) -> Option<Verdict> {
    let control = control();
    if let Some(refused) = admission::refuse(&raw mut *addr, to, frontend, control) {
        return Some(refused);
    }
    let target = match Target::of(frontend.service) {
        Ok(target) => target,
        Err(verdict) => return Some(verdict),
    };
    let key = PeerKey { cookie, addr: to.addr, port: to.port as u64 };
    let mut gone = None;
    if let Some(flow) = maps::FLOWS.get_ptr_mut(key) {
        // SAFETY: `flow` is a map value; a flow that another thread replaces is read old or new.
        let (word, backend, service) =
            unsafe { (atomic::load(&raw const (*flow).row), (*flow).backend, (*flow).service) };
        if service == target.service {
            let same = word == target.word;
            if same || holds(target.row.base, target.row.len, backend) {
                if !same {
                    // SAFETY: as above.
                    unsafe { (&raw mut (*flow).row).write_volatile(target.word) };
                }
                if charges::find(cookie).is_none() {
                    raise(backend);
                    settle(addr, to, target.service, backend, cookie);
                }
                return if forward::<F>(addr, to, backend, cookie) {
                    None
                } else {
                    Some(Verdict::Inconsistent)
                };
            }
            gone = Some(backend);
        }
    }
    let chosen = choose(&raw mut *addr, target.service, target.entry, target.row, control);
    let Some(backend) = chosen else { return Some(Verdict::Inconsistent) };
    let charged = charges::find(cookie);
    match (charged, gone) {
        (Some(charge), Some(gone)) if charge.backend() == gone => {
            charges::end(cookie);
            settle(addr, to, target.service, backend, cookie);
        }
        (Some(_), _) => lower(backend),
        (None, _) => settle(addr, to, target.service, backend, cookie),
    }
    let flow = Flow { row: target.word, backend, service: target.service };
    if maps::FLOWS.insert(key, flow, 0).is_err() || !forward::<F>(addr, to, backend, cookie) {
        return Some(Verdict::Inconsistent);
    }
    Some(Verdict::Balanced)
}

/// Charges the socket to a backend whose counter was raised for it.
#[inline(always)]
fn settle(addr: &mut bpf_sock_addr, to: Destination, service: u32, backend: u32, cookie: u64) {
    let charged = balancer_charge(cookie, backend);
    if charged == 0 {
        return;
    }
    let Some(record) = maps::RECORDS.get_ptr_mut(charged - 1) else { return };
    // SAFETY: `record` is a map value; the charge makes this socket its only writer. The context
    // belongs to a socket.
    unsafe {
        dialled(record, to, service);
        (*record).netns = bpf_get_netns_cookie((&raw mut *addr).cast());
        (*record).state = RecordState::Unconnected as u16;
    }
}

/// Charges a socket to a backend whose counter was raised for it: the index of its record, and 1.
/// Where the table is full, or another thread was first, the counter is lowered again: 0.
///
/// A function of its own with a name that the linker keeps, as [`balancer_reply`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_charge(cookie: u64, backend: u32) -> u32 {
    let Some(charge) = charges::insert(cookie, backend) else {
        lower(backend);
        return 0;
    };
    if charges::has_other(cookie, charge.index) {
        charges::end_this(charge);
        return 0;
    }
    if let Some(entry) = maps::BACKENDS.get_ptr_mut(backend) {
        // SAFETY: `entry` is a map value.
        unsafe { atomic::increment(&raw mut (*entry).opened) };
    }
    charge.record() + 1
}

/// Sends the datagram to a backend, whose answers will seem to come from the Service. False if that
/// can't be.
#[inline(always)]
fn forward<F: Family>(
    addr: &mut bpf_sock_addr,
    to: Destination,
    backend: u32,
    cookie: u64,
) -> bool {
    let Some(entry) = maps::BACKENDS.get_ptr(backend) else { return false };
    // SAFETY: `entry` is a map value; its address is constant while a row names the backend.
    let (ip, port, in_use) = unsafe { ((*entry).addr, (*entry).port, (*entry).in_use) };
    if in_use == 0 {
        return false;
    }
    let [a, b, c, d] = to.addr;
    let (high, low) = ((a as u64) << 32 | b as u64, (c as u64) << 32 | d as u64);
    if balancer_reply(cookie, backend, high, low, to.port as u32) == 0 {
        return false;
    }
    // SAFETY: as where the address was read.
    unsafe { F::write(addr, ip) };
    addr.user_port = port as u32;
    true
}

/// Notes that what a backend sends to a socket seems to come from a Service, whose address is given
/// as two words. 0 if that can't be.
///
/// A function of its own with a name that the linker keeps: its keys need not stand on the stack of
/// 512 bytes that [`choose`] has to share.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_reply(cookie: u64, backend: u32, high: u64, low: u64, port: u32) -> u32 {
    let Some(entry) = maps::BACKENDS.get_ptr(backend) else { return 0 };
    // SAFETY: `entry` is a map value; its address is constant while a row names the backend.
    let (addr, from) = unsafe { ((*entry).addr, (*entry).port) };
    let key = PeerKey { cookie, addr, port: from as u64 };
    let service = [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32];
    let port = port as u16;
    // Looked up each time: the kernel may have forgotten the reply of a flow that it still knows.
    let known = maps::REPLIES.get_ptr(key).is_some_and(|reply| {
        // SAFETY: `reply` is a map value.
        unsafe { (*reply).addr == service && (*reply).port == port }
    });
    let reply = Reply { addr: service, port, zero: 0 };
    u32::from(known || maps::REPLIES.insert(key, reply, 0).is_ok())
}

/// See [`crate::balancer_recvmsg4`] and [`crate::balancer_recvmsg6`].
#[inline(always)]
pub fn recvmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // Every socket with a flow has a charge, or gets one with its next datagram.
    let Some(charge) = charges::find(cookie) else { return PROCEED };
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return PROCEED };
    // SAFETY: the kernel hands in a valid context of this family.
    let addr = unsafe { &mut *ctx.sock_addr };
    // SAFETY: `record` is a map value that only this very socket's hooks write.
    let (state, service, port) = unsafe { ((*record).state, (*record).addr, (*record).port) };
    // SAFETY: the entry points run each family on its own hook.
    let from = Destination { addr: unsafe { F::read(addr) }, port: addr.user_port as u16 };
    // Where it is not from there, the socket was disconnected meanwhile, which no hook sees.
    if state == RecordState::Connected as u16 && is_from(charge.backend(), from) {
        // SAFETY: as above.
        unsafe { F::write(addr, service) };
        addr.user_port = port as u32;
        return PROCEED;
    }
    let from = PeerKey { cookie, addr: from.addr, port: from.port as u64 };
    let Some(reply) = maps::REPLIES.get_ptr(from) else { return PROCEED };
    // SAFETY: `reply` is a map value; the rest as above.
    unsafe {
        F::write(addr, (*reply).addr);
        addr.user_port = (*reply).port as u32;
    }
    PROCEED
}

#[inline(always)]
fn is_from(backend: u32, from: Destination) -> bool {
    maps::BACKENDS.get_ptr(backend).is_some_and(|entry| {
        // SAFETY: `entry` is a map value.
        unsafe { (*entry).addr == from.addr && (*entry).port == from.port }
    })
}
