//! TCP connections that end before their socket is closed: refused, timed out, reset; and what they
//! tell of their backend.
//!
//! The callback for changes of state is switched on only for sockets that carry a charge; others
//! cost the few runs that every connection has once a program is on this hook. A socket that is closed while it
//! connects is released *before* it leaves SYN_SENT; the charge is gone then, and nothing is
//! lowered twice.

use core::ptr::read_volatile;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RTO_CB, BPF_SOCK_OPS_RTO_CB_FLAG,
        BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
        BPF_TCP_CLOSE, BPF_TCP_SYN_SENT,
    },
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_coarse_ns},
    programs::SockOpsContext,
};

use balancer_common::{
    charge::Charge,
    layout::{ANSWERED, EndedBy, RecordState, mapped},
    suspect::Unestablished,
};

use crate::{
    atomic, charges,
    choose::pin_trial,
    ends::{self, End, balancer_state},
    lifetime::{balancer_lived, since},
    maps,
    suspects::{self, balancer_established, balancer_failed},
    trace,
};

const AF_INET6: u32 = 10;

/// The kernel ignores other values of the callbacks that are used here.
const DONE: u32 = 1;

/// See [`crate::balancer_tcp`].
#[inline(always)]
pub fn sock_ops(ctx: &SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => sending(ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == BPF_TCP_CLOSE => closed(ctx),
        BPF_SOCK_OPS_STATE_CB if trace::is_on() => changed(ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ctx),
        BPF_SOCK_OPS_RTO_CB => timed_out(ctx),
        _ => {}
    }
    DONE
}

/// The SYN is about to be sent: nothing inside `connect()` can fail any more.
#[inline(always)]
fn sending(ctx: &SockOpsContext) {
    let Some(charge) = charges::find(cookie(ctx)) else { return };
    // Fails only where the kernel doesn't know a flag; the close still ends the charge. What a timer
    // of an established connection costs is not worth a call to switch it off.
    let flags = ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTO_CB_FLAG;
    let _ = ctx.set_cb_flags(flags as i32);
    let Some(record) = maps::RECORDS.get_ptr_mut(charge.record()) else { return };
    let (addr, port) = local(ctx);
    // SAFETY: `record` is a map value; the charge makes this socket its only writer. The agent, which
    // ends charges whose SYN was not sent, gives the place of this one to no other socket while this
    // program runs. The helpers have no precondition but a context that belongs to a socket.
    unsafe {
        (*record).local_addr = addr;
        (*record).local_port = port;
        (*record).netns = bpf_get_netns_cookie(ctx.as_ptr());
        (*record).since = bpf_ktime_get_coarse_ns();
        (&raw mut (*record).state).write_volatile(RecordState::Connected as u16);
    }
}

#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let Some(charge) = charges::find(cookie(ctx)) else {
        // It was closed before, and its end told: this says how.
        if trace::is_on() {
            tell(ctx);
        }
        return;
    };
    let failed = ctx.arg(0) == BPF_TCP_SYN_SENT;
    if failed && is_failure(ctx, charge) {
        blame(charge);
    }
    let since = if failed { 0 } else { since(charge) };
    if !ends::end_this(charge, || end(ctx, failed)) {
        return;
    }
    if !failed {
        balancer_lived(since);
        return;
    }
    if let Some(entry) = maps::BACKENDS.get_ptr_mut(charge.backend()) {
        // SAFETY: `entry` is a map value.
        unsafe { atomic::increment(&raw mut (*entry).failed) };
    }
}

/// What is told of a connection that TCP ends.
#[inline(always)]
fn end(ctx: &SockOpsContext, failed: bool) -> End {
    // SAFETY: a word of the context.
    let received = unsafe { read_volatile(&raw const (*ctx.ops).segs_in) };
    End {
        by: EndedBy::Tcp,
        states: [ctx.arg(0) as u8, ctx.arg(1) as u8],
        flags: if failed && received != 0 { ANSWERED } else { 0 },
        bytes: bytes(ctx),
    }
}

/// A socket changes its state while somebody reads. One that has its charge still ends later.
#[inline(always)]
fn changed(ctx: &SockOpsContext) {
    if charges::find(cookie(ctx)).is_none() {
        tell(ctx);
    }
}

/// Tells the state that a socket leaves, whose charge has ended already, and to which one. Once: what
/// follows says nothing of how it has ended, and takes from the budget all the same.
#[inline(always)]
fn tell(ctx: &SockOpsContext) {
    // A socket that connects anew has it switched on again.
    let _ = ctx.set_cb_flags((ctx.cb_flags() & !BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    let states = u32::from_le_bytes([ctx.arg(0) as u8, ctx.arg(1) as u8, 0, 0]);
    let [acked, received] = bytes(ctx);
    balancer_state(cookie(ctx), states, acked, received);
}

/// Bytes that were acknowledged and received, as TCP counts them.
#[inline(always)]
fn bytes(ctx: &SockOpsContext) -> [u64; 2] {
    // SAFETY: words of the context.
    unsafe {
        [
            read_volatile(&raw const (*ctx.ops).bytes_acked),
            read_volatile(&raw const (*ctx.ops).bytes_received),
        ]
    }
}

/// A connection is established: its backend answers.
#[inline(always)]
fn established(ctx: &SockOpsContext) {
    if !suspects::are_any() {
        return;
    }
    let Some(charge) = charges::find(cookie(ctx)) else { return };
    if balancer_established(charge.backend()) == 0 {
        return;
    }
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return };
    // SAFETY: `record` is a map value that only the hooks of this very socket write.
    let (netns, service, sent) = unsafe { ((*record).netns, (*record).service, (*record).since) };
    pin_trial(netns, service, charge.backend(), sent);
}

/// The timer of a socket has run out: before it is established, for want of an answer to its SYN.
#[inline(always)]
fn timed_out(ctx: &SockOpsContext) {
    // SAFETY: a word of the context.
    let state = unsafe { read_volatile(&raw const (*ctx.ops).state) };
    if state != BPF_TCP_SYN_SENT {
        return;
    }
    if let Some(charge) = charges::find(cookie(ctx)) {
        blame(charge);
    }
}

/// True where the backend, or the way there, has ended a connection that was not established.
#[inline(always)]
fn is_failure(ctx: &SockOpsContext, charge: Charge) -> bool {
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return false };
    // SAFETY: words of the context; `record` is a map value that only the hooks of this very socket
    // write; the helper has no precondition.
    let end = unsafe {
        Unestablished {
            sent: read_volatile(&raw const (*ctx.ops).segs_out),
            received: read_volatile(&raw const (*ctx.ops).segs_in),
            age: bpf_ktime_get_coarse_ns().wrapping_sub((*record).since),
        }
    };
    end.is_failure()
}

/// Makes the backend of a connection suspect.
#[inline(always)]
fn blame(charge: Charge) {
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return };
    // SAFETY: `record` is a map value that only the hooks of this very socket write.
    let (service, sent) = unsafe { ((*record).service, (*record).since) };
    balancer_failed(charge.backend(), service, sent);
}

/// The address and the port of a socket. The kernel has chosen both before the SYN.
#[inline(always)]
fn local(ctx: &SockOpsContext) -> ([u32; 4], u16) {
    // The context has its port in host byte order.
    let port = (ctx.local_port() as u16).to_be();
    if ctx.family() != AF_INET6 {
        return (mapped(ctx.local_ip4()), port);
    }
    // SAFETY: the words of the context. Volatile, since the verifier refuses the wider accesses that
    // the compiler makes of adjacent words.
    let addr = unsafe {
        let words = (&raw const (*ctx.ops).local_ip6).cast::<u32>();
        [
            read_volatile(words),
            read_volatile(words.add(1)),
            read_volatile(words.add(2)),
            read_volatile(words.add(3)),
        ]
    };
    (addr, port)
}

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the context belongs to a socket.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}
