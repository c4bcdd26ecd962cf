//! `getpeername()`: a balanced socket is connected to what its program dialled.

use aya_ebpf::{EbpfContext as _, helpers::bpf_get_socket_cookie, programs::SockAddrContext};

use balancer_common::layout::RecordState;

use crate::{PROCEED, charges, family::Family, maps};

/// See [`crate::balancer_getpeer4`] and [`crate::balancer_getpeer6`].
#[inline(always)]
pub fn getpeername<F: Family>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let Some(charge) = charges::find(cookie) else { return PROCEED };
    let Some(record) = maps::RECORDS.get_ptr(charge.record()) else { return PROCEED };
    // SAFETY: the kernel hands in a valid context of this family, and `record` is a map value that
    // only the hooks of this very socket write.
    unsafe {
        // A UDP socket may be connected to something else than the Service it has sent datagrams to.
        if (*record).state == RecordState::Unconnected as u16 {
            return PROCEED;
        }
        F::write(ctx.sock_addr, (*record).addr);
        (*ctx.sock_addr).user_port = (*record).port as u32;
    }
    PROCEED
}
