//! The last close of a socket, in whichever process it happens.

use aya_ebpf::{EbpfContext as _, helpers::bpf_get_socket_cookie, programs::SockContext};
use balancer_common::layout::EndedBy;

use crate::{PROCEED, ends};

/// See [`crate::balancer_release`].
#[inline(always)]
pub fn sock_release(ctx: &SockContext) -> i32 {
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    ends::end(cookie, EndedBy::Release);
    PROCEED
}
