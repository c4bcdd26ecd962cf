//! Datagrams of UDP sockets that are not connected: each names its destination.
//!
//! A socket keeps the backend that its first datagram to a Service was given, as a connection would:
//! QUIC and many others need it. The flow ends when its backend no longer serves the Service; the next
//! datagram starts another one, so that nobody waits for a pod that is gone. A socket is charged
//! once, for the Service that it sent to first: the charge and its record are that flow, and the way
//! of its answers. Further Services over the same socket stand in its [`flows`]; they choose by the
//! same counters but raise none, so that counts stay numbers of sockets.
//!
//! What can be noted nowhere is left untouched: a datagram that was led, and whose answer comes from
//! the address of a pod, is worse than one that was not.

use aya_ebpf::{
    bindings::bpf_sock_addr, helpers::bpf_get_socket_cookie, programs::SockAddrContext,
};
use balancer_common::{
    charge::Charge,
    layout::{Control, Frontend, RESTRICTED, Row, ServingKey, UDP},
    verdict::Verdict,
};

use crate::{
    PROCEED, admission,
    answer::answer,
    atomic, charges,
    choose::{choose, holds},
    control::control,
    family::{Destination, Family, NO_FRONTEND, frontend_of},
    flows::{self, Found},
    maps, node_ports,
    opaque::opaque,
    rows::{lower, raise},
    target::Target,
    trace::{Answered, NOBODY},
    udp::{self, Settled, Way},
};

/// See [`crate::balancer_sendmsg4`] and [`crate::balancer_sendmsg6`].
#[inline(always)]
pub fn sendmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the kernel hands in a valid context.
    let addr = unsafe { &mut *ctx.sock_addr };
    // SAFETY: the entry points run each family on its own hook.
    let to = Destination { addr: unsafe { F::read(addr) }, port: addr.user_port as u16 };
    let control = control();
    let mut known = BEGINS;
    if control.levels() == 0 {
        known = follows::<F>(ctx.sock_addr);
        if known == GOES_ON {
            return PROCEED;
        }
    }
    // The protocol of UDP-Lite is another one, and no Service has it.
    let frontend = node_ports::any::<F>(ctx.sock_addr);
    if frontend == NO_FRONTEND || addr.protocol != UDP as u32 {
        return PROCEED;
    }
    let frontend = frontend_of(frontend);
    let Some((verdict, chosen)) = send::<F>(ctx, to, frontend, control, known) else {
        return PROCEED;
    };
    if control.is_traced() {
        // SAFETY: the context belongs to a socket.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) };
        let (protocol, service) = (UDP as u32, frontend.service);
        Answered { to, protocol, verdict, service, chosen, cookie }.tell_briefly();
    }
    answer(verdict)
}

/// The verdict, and what was chosen; `None` for a datagram of a flow that goes on.
///
/// What is done before and after the choice are functions of their own: the choice has to share a stack
/// of 512 bytes with whoever calls it.
#[inline(always)]
fn send<F: Family>(
    ctx: &SockAddrContext,
    to: Destination,
    frontend: Frontend,
    control: Control,
    known: u32,
) -> Option<(Verdict, u64)> {
    let sock = ctx.sock_addr;
    // In a word of its own: the verifier would know after the check whether the kind has it, and follow
    // all that comes after once for each case.
    let restricted = opaque(opaque(frontend.kind as u64) & RESTRICTED as u64) as u32;
    if let Some(refused) = admission::refuse(sock, to, frontend, control) {
        return Some((refused, NOBODY));
    }
    let target = match Target::of(frontend.service) {
        Ok(target) => target,
        Err(verdict) => return Some((verdict, NOBODY)),
    };
    let flags = restricted | if known == UNCHARGED { UNCHARGED } else { 0 };
    // A socket without a charge and without flows has sent to no Service yet.
    if known == UNCHARGED && flows::of(ctx).is_none() {
        // SAFETY: the context belongs to a socket.
        charges::fetch_record(unsafe { bpf_get_socket_cookie(sock.cast()) });
    } else {
        match goes_on::<F>(sock, target.service, target.word, flags) {
            GOES_ON => return None,
            LOST => return Some((Verdict::Inconsistent, NOBODY)),
            _ => {}
        }
    }
    let chosen = choose(sock, target.service, target.entry, target.row, control);
    let Some(chosen) = chosen else { return Some((Verdict::Inconsistent, NOBODY)) };
    let verdict = match begins::<F>(sock, target.service, target.word, chosen as u32, flags) {
        GOES_ON => Verdict::Balanced,
        FULL => Verdict::TooManyConnections,
        _ => Verdict::Inconsistent,
    };
    Some((verdict, chosen))
}

/// The datagram was led.
const GOES_ON: u32 = 0;
/// The backend has no address.
const LOST: u32 = 1;
/// There is no flow, or its backend is left.
const BEGINS: u32 = 2;
/// There is no room to note it.
const FULL: u32 = 3;
/// The socket had no charge: one of the flags of what follows, beside [`RESTRICTED`], so that nobody looks
/// for it again. Another thread may have charged it since: who charges looks for that afterwards.
const UNCHARGED: u32 = 4;

/// Leads a datagram along the flow in the record of its socket, where nothing has changed since the last
/// one: the Service is not looked for by its address, which takes longer than all else. The agent gives a
/// Service port another word of its row where one of its addresses leads elsewhere. Where only some clients
/// are admitted, that is asked at each datagram.
#[inline(never)]
fn follows<F: Family>(sock: *mut bpf_sock_addr) -> u32 {
    // SAFETY: the entry points run each family on its own hook, whose context belongs to a socket.
    let (to, cookie) = unsafe {
        let to = Destination { addr: F::read(sock), port: (*sock).user_port as u16 };
        (to, bpf_get_socket_cookie(sock.cast()))
    };
    let Some(charge) = charges::find(cookie) else { return UNCHARGED };
    let Some(way) = udp::flow(charge, to) else { return BEGINS };
    let Some(entry) = maps::SERVICES.get_ptr(way.service) else { return BEGINS };
    // SAFETY: `entry` is a map value.
    let row = unsafe { atomic::load(&raw const (*entry).row) };
    if way.restricted != 0 || row != way.row {
        return BEGINS;
    }
    led::<F>(sock, charge.backend())
}

/// Leads a datagram along the flow of its socket to a Service.
#[inline(never)]
fn goes_on<F: Family>(sock: *mut bpf_sock_addr, service: u32, row: u64, flags: u32) -> u32 {
    let ctx = SockAddrContext::new(sock);
    // SAFETY: the entry points run each family on its own hook, whose context belongs to a socket.
    let (to, cookie) = unsafe {
        let to = Destination { addr: F::read(sock), port: (*sock).user_port as u16 };
        (to, bpf_get_socket_cookie(sock.cast()))
    };
    let way = Way { to, service, row, restricted: flags & RESTRICTED };
    let charge = charge(cookie, flags);
    if let Some(charge) = charge
        && let Some(known) = udp::row(charge, to, service)
    {
        let backend = charge.backend();
        if known != row {
            if !serves(service, row, backend) {
                return BEGINS;
            }
            // The same once more, found in this row.
            raise(backend);
            udp::settle(sock, cookie, backend, way, charge);
        }
        return led::<F>(sock, backend);
    }
    let Some(flows) = flows::of(&ctx) else { return BEGINS };
    let found = flows::find(flows, to, service);
    if !found.is_some() {
        return BEGINS;
    }
    if found.row != row {
        if !serves(service, row, found.backend) {
            return BEGINS;
        }
        flows::mark(flows, found, row);
    }
    if charge.is_none() {
        raise(found.backend);
        udp::settle(sock, cookie, found.backend, way, udp::NO_CHARGE);
    }
    led::<F>(sock, found.backend)
}

/// The charge of a socket, where it is not known that it has none.
#[inline(always)]
fn charge(cookie: u64, flags: u32) -> Option<Charge> {
    if flags & UNCHARGED != 0 { None } else { charges::find(cookie) }
}

/// Notes a flow to a backend whose counter was raised for it, and leads its first datagram.
#[inline(never)]
fn begins<F: Family>(
    sock: *mut bpf_sock_addr,
    service: u32,
    row: u64,
    backend: u32,
    flags: u32,
) -> u32 {
    let ctx = SockAddrContext::new(sock);
    // SAFETY: as above.
    let (to, cookie) = unsafe {
        let to = Destination { addr: F::read(sock), port: (*sock).user_port as u16 };
        (to, bpf_get_socket_cookie(sock.cast()))
    };
    let way = Way { to, service, row, restricted: flags & RESTRICTED };
    let Some(from) = address(backend) else {
        lower(backend);
        return LOST;
    };
    let charge = charge(cookie, flags);
    // The charge of this Service, whose backend the datagrams leave.
    let mut left = udp::NO_CHARGE;
    if let Some(charge) = charge
        && udp::row(charge, to, service).is_some()
    {
        left = charge;
    }
    let settled = if charge.is_none() || left.word != 0 {
        udp::settle(sock, cookie, backend, way, left)
    } else {
        lower(backend);
        Settled::Raced
    };
    match settled {
        Settled::Full => return FULL,
        Settled::Charged => {
            opened(backend);
            if left.word != 0 {
                await_answers(&ctx, way, left.backend());
            }
        }
        Settled::Raced => {
            let Some(flows) = flows::made(&ctx) else { return FULL };
            // The one to this Service, whose backend the datagrams leave.
            let instead = flows::find(flows, to, service);
            if !flows::add(flows, way, backend, from, true, instead) {
                return FULL;
            }
        }
    }
    lead::<F>(sock, from);
    GOES_ON
}

/// What a backend that a socket has left still answers seems to come from the Service, if there is
/// room to note that.
#[inline(always)]
fn await_answers(ctx: &SockAddrContext, way: Way, left: u32) {
    if let Some(from) = address(left)
        && let Some(flows) = flows::made(ctx)
    {
        flows::add(flows, way, left, from, false, Found::NONE);
    }
}

/// True while a backend serves a Service with a row, whether or not new sockets go there.
#[inline(always)]
fn serves(service: u32, row: u64, backend: u32) -> bool {
    let row = Row::unpack(row);
    let key = ServingKey { service, backend };
    holds(row.base, row.len, backend) || maps::SERVING.get_ptr(key).is_some()
}

#[inline(always)]
fn opened(backend: u32) {
    if let Some(entry) = maps::BACKENDS.get_ptr_mut(backend) {
        // SAFETY: `entry` is a map value.
        unsafe { atomic::increment(&raw mut (*entry).opened) };
    }
}

/// Where a backend is.
#[inline(always)]
fn address(backend: u32) -> Option<Destination> {
    let entry = maps::BACKENDS.get_ptr(backend)?;
    // SAFETY: `entry` is a map value; its address is constant while a row names the backend or a
    // socket is charged to it.
    let (addr, port, in_use) = unsafe { ((*entry).addr, (*entry).port, (*entry).in_use) };
    if in_use == 0 { None } else { Some(Destination { addr, port }) }
}

/// Leads a datagram to the backend of a flow.
#[inline(always)]
fn led<F: Family>(sock: *mut bpf_sock_addr, backend: u32) -> u32 {
    let Some(to) = address(backend) else { return LOST };
    lead::<F>(sock, to);
    GOES_ON
}

#[inline(always)]
pub fn lead<F: Family>(sock: *mut bpf_sock_addr, to: Destination) {
    // SAFETY: the context of a hook of this family.
    unsafe {
        F::write(sock, to.addr);
        (*sock).user_port = to.port as u32;
    }
}
