//! What the families of sockets differ in: where their hooks find the address.
//!
//! Each hook may reach the address of its own family only, a word at a time, and the verifier
//! refuses the wider accesses that the compiler makes of adjacent words: hence volatile.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::bpf_sock_addr;
use balancer_common::layout::{Frontend, FrontendKey4, FrontendKey6, Place, is_mapped, mapped};

use crate::{atomic, maps};

/// No frontend, where one is asked for as a word.
pub const NO_FRONTEND: u64 = 0;

/// A frontend as a word, never [`NO_FRONTEND`], since no kind is 0. Words of all maps are alike to the
/// verifier, which would follow all that comes after once for each map whose value it might be.
#[inline(always)]
fn word(frontend: &Frontend) -> u64 {
    // SAFETY: a map value of 8 bytes, which the kernel aligns to 8. Little endian.
    unsafe { atomic::load((&raw const *frontend).cast::<u64>()) }
}

/// The inverse of [`word`].
#[inline(always)]
pub const fn frontend_of(word: u64) -> Frontend {
    Frontend { service: word as u32, kind: (word >> 32) as u32 }
}

/// What a socket dials, or was told that it has dialled.
#[derive(Clone, Copy)]
pub struct Destination {
    /// IPv6 address, or IPv4 as `::ffff:a.b.c.d`, in network byte order.
    pub addr: [u32; 4],
    /// Port, network byte order.
    pub port: u16,
}

/// The family of a socket.
pub trait Family {
    /// The address in the context.
    ///
    /// # Safety
    /// `sock` is the context of a hook of this family.
    unsafe fn read(sock: *const bpf_sock_addr) -> [u32; 4];

    /// Replaces the address in the context by one of the same family, as [`Destination::addr`].
    ///
    /// # Safety
    /// `sock` is the context of a hook of this family.
    unsafe fn write(sock: *mut bpf_sock_addr, addr: [u32; 4]);

    /// The frontend at a destination, or at the port alone of it: [`frontend_of`] reads it.
    /// [`NO_FRONTEND`] where there is none.
    fn frontend(to: Destination, protocol: u8, place: Place) -> u64;
}

/// AF_INET.
pub struct V4;

/// AF_INET6, also where it dials IPv4.
pub struct V6;

impl Family for V4 {
    #[inline(always)]
    unsafe fn read(sock: *const bpf_sock_addr) -> [u32; 4] {
        // SAFETY: the caller's contract.
        mapped(unsafe { read_volatile(&raw const (*sock).user_ip4) })
    }

    #[inline(always)]
    unsafe fn write(sock: *mut bpf_sock_addr, addr: [u32; 4]) {
        // SAFETY: the caller's contract.
        unsafe { write_volatile(&raw mut (*sock).user_ip4, addr[3]) };
    }

    #[inline(always)]
    fn frontend(to: Destination, protocol: u8, place: Place) -> u64 {
        let addr = if let Place::Exact = place { to.addr[3] } else { 0 };
        let key = FrontendKey4 { addr, port: to.port, protocol, place: place as u8 };
        // SAFETY: only the agent writes the map; a value replaced meanwhile is read old or new.
        unsafe { maps::FRONTENDS4.get(key) }.map_or(NO_FRONTEND, word)
    }
}

impl Family for V6 {
    #[inline(always)]
    unsafe fn read(sock: *const bpf_sock_addr) -> [u32; 4] {
        // SAFETY: the caller's contract.
        unsafe {
            [
                read_volatile(&raw const (*sock).user_ip6[0]),
                read_volatile(&raw const (*sock).user_ip6[1]),
                read_volatile(&raw const (*sock).user_ip6[2]),
                read_volatile(&raw const (*sock).user_ip6[3]),
            ]
        }
    }

    /// An IPv4 backend is stored mapped: the socket that dialled a mapped address goes on to one.
    #[inline(always)]
    unsafe fn write(sock: *mut bpf_sock_addr, addr: [u32; 4]) {
        // SAFETY: the caller's contract.
        unsafe {
            write_volatile(&raw mut (*sock).user_ip6[0], addr[0]);
            write_volatile(&raw mut (*sock).user_ip6[1], addr[1]);
            write_volatile(&raw mut (*sock).user_ip6[2], addr[2]);
            write_volatile(&raw mut (*sock).user_ip6[3], addr[3]);
        }
    }

    #[inline(always)]
    fn frontend(to: Destination, protocol: u8, place: Place) -> u64 {
        if is_mapped(to.addr) {
            return V4::frontend(to, protocol, place);
        }
        let addr = if let Place::Exact = place { to.addr } else { [0; 4] };
        let key = FrontendKey6 { addr, port: to.port, protocol, place: place as u8 };
        // SAFETY: as for IPv4.
        unsafe { maps::FRONTENDS6.get(key) }.map_or(NO_FRONTEND, word)
    }
}
