//! Node ports at addresses that have no frontends of their own: those of other nodes, and those of this
//! node that its Node object does not list.

use aya_ebpf::{bindings::bpf_sock_addr, helpers::bpf_get_netns_cookie};
use balancer_common::layout::Place;

use crate::{
    family::{Destination, Family, NO_FRONTEND},
    maps,
};

/// [`Family::frontend`] of what a socket dials, or else [`frontend`]. A function of its own: the
/// verifier goes on from it once, whichever map answered.
#[inline(never)]
pub fn any<F: Family>(sock: *mut bpf_sock_addr) -> u64 {
    // SAFETY: the entry points run each family on its own hook.
    let (to, protocol) = unsafe {
        let to = Destination { addr: F::read(sock), port: (*sock).user_port as u16 };
        (to, (*sock).protocol as u8)
    };
    let exact = F::frontend(to, protocol, Place::Exact);
    if exact == NO_FRONTEND { frontend::<F>(sock) } else { exact }
}

/// The frontend of what a socket dials, as [`Family::frontend`] has it, if it is a node port at an
/// address of the map of nodes. First the port, which is looked for in a map that is at hand and is
/// rarely a node port.
#[inline(never)]
pub fn frontend<F: Family>(sock: *mut bpf_sock_addr) -> u64 {
    // SAFETY: the entry points run each family on its own hook.
    let (to, protocol) = unsafe {
        let to = Destination { addr: F::read(sock), port: (*sock).user_port as u16 };
        (to, (*sock).protocol as u8)
    };
    let elsewhere = F::frontend(to, protocol, Place::OtherNode);
    if elsewhere == NO_FRONTEND {
        return NO_FRONTEND;
    }
    // SAFETY: only the agent writes the map; a value replaced meanwhile is read old or new.
    let Some(node) = (unsafe { maps::NODES.get(to.addr) }) else { return NO_FRONTEND };
    // SAFETY: the context belongs to a socket.
    if node.netns != 0 && node.netns != unsafe { bpf_get_netns_cookie(sock.cast()) } {
        return NO_FRONTEND;
    }
    if node.place == Place::OtherNode as u32 {
        elsewhere
    } else {
        F::frontend(to, protocol, Place::ThisNode)
    }
}
