//! Answers to datagrams: they seem to come from the Service that was asked.

use aya_ebpf::{EbpfContext as _, helpers::bpf_get_socket_cookie, programs::SockAddrContext};
use balancer_common::layout::RecordState;

use crate::{
    PROCEED, atomic, charges,
    datagram::lead,
    family::{Destination, Family},
    flows, maps,
};

/// See [`crate::balancer_recvmsg4`] and [`crate::balancer_recvmsg6`].
#[inline(always)]
pub fn recvmsg<F: Family>(ctx: &SockAddrContext) -> i32 {
    let sock = ctx.sock_addr;
    // SAFETY: the kernel hands in a valid context, and the entry points run each family on its own
    // hook.
    let from = unsafe { Destination { addr: F::read(sock), port: (*sock).user_port as u16 } };
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // The one that it sent to first, or is connected to. Where it is not from there, the socket may have
    // been disconnected meanwhile, which no hook sees.
    if let Some(charge) = charges::find(cookie)
        && is_from(charge.backend(), from)
        && let Some(record) = maps::RECORDS.get_ptr(charge.record())
    {
        // SAFETY: `record` is a map value. Read before it is known that the charge still stands.
        let (addr, port, state) = unsafe {
            (
                atomic::load(&raw const (*record).addr),
                atomic::load(&raw const (*record).port),
                atomic::load(&raw const (*record).state),
            )
        };
        if state != RecordState::Waiting as u16 && charges::stands(charge) {
            lead::<F>(sock, Destination { addr, port });
            return PROCEED;
        }
    }
    if let Some(flows) = flows::of(ctx)
        && let Some(service) = flows::replies(flows, from)
    {
        lead::<F>(sock, service);
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
