//! `getpeername()`: a balanced socket is connected to what its program dialled.

use aya_ebpf::{EbpfContext as _, helpers::bpf_get_socket_cookie, programs::SockAddrContext};

use balancer_common::layout::RecordState;

use crate::{PROCEED, atomic, charges, family::Family, maps};

/// See [`crate::balancer_getpeer4`] and [`crate::balancer_getpeer6`].
#[inline(always)]
pub fn getpeername<F: Family>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let Some(charge) = charges::find(cookie) else { return PROCEED };
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return PROCEED };
    // SAFETY: `record` is a map value. Read before it is known that the charge still stands.
    let (addr, port, state) = unsafe {
        (
            atomic::load(&raw const (*record).addr),
            atomic::load(&raw const (*record).port),
            atomic::load(&raw const (*record).state),
        )
    };
    // A UDP socket may be connected to something else than the Service it has sent datagrams to.
    if state == RecordState::Unconnected as u16 || !charges::stands(charge) {
        return PROCEED;
    }
    // SAFETY: the kernel hands in a valid context of this family.
    unsafe {
        F::write(ctx.sock_addr, addr);
        (*ctx.sock_addr).user_port = port as u32;
    }
    PROCEED
}
