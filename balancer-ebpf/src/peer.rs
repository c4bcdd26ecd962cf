//! `getpeername()`: a balanced socket is connected to what its program dialled.

use aya_ebpf::{EbpfContext as _, helpers::bpf_get_socket_cookie, programs::SockAddrContext};

use crate::{PROCEED, charges, maps};

/// See [`crate::balancer_getpeer4`].
#[inline(always)]
pub fn getpeername4(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let Some(charge) = charges::find(cookie) else { return PROCEED };
    let Some(record) = maps::RECORDS.get_ptr(charge.index) else { return PROCEED };
    // SAFETY: the kernel hands in a valid context, and `record` is a map value that only
    // `connect()` of this very socket writes.
    unsafe {
        (*ctx.sock_addr).user_ip4 = (*record).addr[3];
        (*ctx.sock_addr).user_port = (*record).port as u32;
    }
    PROCEED
}
