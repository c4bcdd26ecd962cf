//! The last close of a socket, in whichever process it happens.

use core::ptr::read_volatile;

use aya_ebpf::{
    EbpfContext as _, bindings::BPF_TCP_SYN_SENT, helpers::bpf_get_socket_cookie,
    programs::SockContext,
};
use balancer_common::layout::EndedBy;

use crate::{
    PROCEED, charges,
    ends::{self, End},
    lifetime::{balancer_lived, since},
};

/// See [`crate::balancer_release`].
#[inline(always)]
pub fn sock_release(ctx: &SockContext) -> i32 {
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let Some(charge) = charges::find(cookie) else { return PROCEED };
    // SAFETY: a word of the context. Volatile, so that it is read from there as it is.
    let state = unsafe { read_volatile(&raw const (*ctx.sock).state) };
    // One that is closed while it connects was no connection.
    let since = if state == BPF_TCP_SYN_SENT { 0 } else { since(charge) };
    if ends::end_this(charge, || End::by(EndedBy::Release)) {
        balancer_lived(since);
    }
    PROCEED
}
