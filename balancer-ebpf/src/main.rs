//! The programs that the kernel runs, entry points only. One line of the data's way:
//! `connect()` -> [`connect`] chooses and charges -> [`tcp`] and [`release`] end the charge;
//! `getpeername()` -> [`peer`] answers the Service address; datagrams without a connection ->
//! [`datagram`], and [`reply`] for their answers, by the charge and its record ([`udp`]) or by other
//! [`flows`] of the socket.
//!
//! A module imports only those before it in this list:
//!
//! - [`maps`]: every map: its purpose, who writes it, who reads it, how long it lives.
//! - [`atomic`]: read-modify-write on map memory.
//! - [`opaque`]: what the compiler knows and the verifier does not.
//! - [`family`]: what the families of sockets differ in.
//! - [`node_ports`]: node ports at addresses without frontends of their own.
//! - [`control`]: what programs must look at beyond the Service.
//! - [`answer`]: what a hook returns, and the counter of it.
//! - [`admission`]: whose sockets are balanced.
//! - [`target`]: a Service as a hook finds it.
//! - [`rows`]: rows and counters in map memory.
//! - [`level`]: what the agent says of a row, where that is still believed.
//! - [`part`]: the scan of a part of a row, by hand.
//! - [`part_of_all`]: the same by the connections of all nodes.
//! - [`part_untaken`]: the same, as long as nothing is taken.
//! - [`reserve`]: least connections: picks the backend and raises its counter, as one step.
//! - [`weigh`]: the scan by weight and age.
//! - [`suspects`]: backends that have just failed.
//! - [`choose`]: which backend a socket gets.
//! - [`charges`]: which socket is charged to which backend.
//! - [`trace`]: tells what was chosen, while somebody reads it.
//! - [`lifetime`]: how long connections lived.
//! - [`ends`]: ends charges, and tells it.
//! - [`udp`]: the charges of UDP sockets.
//! - [`flows`]: the flows of a UDP socket beside the one in its record.
//! - [`connect`], with all of these: `connect()`.
//! - [`datagram`]: `sendmsg()` of UDP sockets that are not connected.
//! - [`reply`]: `recvmsg()` of UDP sockets.
//! - [`peer`][]: `getpeername()`.
//! - [`outside`]: connections from outside of the node.
//! - [`tcp`]: connections that end before their socket is closed.
//! - [`release`]: the last close of a socket.
//!
//! Built for `bpfel-unknown-none` by `cargo xtask build`; keeps to what Linux 5.15 can load.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the attribute macros of aya drop the docs of entry points")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "aya calls entry points with the context by value"
)]
#![allow(internal_features, reason = "fetching atomics have no stable form on this target")]
#![feature(asm_experimental_arch, core_intrinsics)]

mod admission;
mod answer;
mod atomic;
mod charges;
mod choose;
mod connect;
mod control;
mod datagram;
mod ends;
mod family;
mod flows;
mod level;
mod lifetime;
mod maps;
mod node_ports;
mod opaque;
mod outside;
mod part;
mod part_of_all;
mod part_untaken;
mod peer;
mod release;
mod reply;
mod reserve;
mod rows;
mod suspects;
mod target;
mod tcp;
mod trace;
mod udp;
mod weigh;

use aya_ebpf::{
    macros::{cgroup_sock, cgroup_sock_addr, classifier, sock_ops},
    programs::{SockAddrContext, SockContext, SockOpsContext, TcContext},
};

use family::{V4, V6};

/// The system call goes on. A bare 0 would be EPERM, which no program here ever answers.
const PROCEED: i32 = 1;

/// Runs inside `connect()` of every IPv4 socket of the cgroup, under the socket's lock.
#[cgroup_sock_addr(connect4)]
pub fn balancer_connect4(ctx: SockAddrContext) -> i32 {
    connect::connect::<V4>(&ctx)
}

/// Runs inside `connect()` of every IPv6 socket of the cgroup, also where it dials
/// `::ffff:a.b.c.d`.
#[cgroup_sock_addr(connect6)]
pub fn balancer_connect6(ctx: SockAddrContext) -> i32 {
    connect::connect::<V6>(&ctx)
}

/// Runs for every datagram of a UDP socket that names an IPv4 destination, from sockets of either
/// family.
#[cgroup_sock_addr(sendmsg4)]
pub fn balancer_sendmsg4(ctx: SockAddrContext) -> i32 {
    datagram::sendmsg::<V4>(&ctx)
}

/// Runs for every datagram of a UDP socket that names an IPv6 destination.
#[cgroup_sock_addr(sendmsg6)]
pub fn balancer_sendmsg6(ctx: SockAddrContext) -> i32 {
    datagram::sendmsg::<V6>(&ctx)
}

/// Runs for every datagram that an IPv4 UDP socket receives, if its sender is asked for.
#[cgroup_sock_addr(recvmsg4)]
pub fn balancer_recvmsg4(ctx: SockAddrContext) -> i32 {
    reply::recvmsg::<V4>(&ctx)
}

/// Runs for every datagram that an IPv6 UDP socket receives, if its sender is asked for.
#[cgroup_sock_addr(recvmsg6)]
pub fn balancer_recvmsg6(ctx: SockAddrContext) -> i32 {
    reply::recvmsg::<V6>(&ctx)
}

/// Runs inside `getpeername()` of every connected IPv4 socket of the cgroup.
#[cgroup_sock_addr(getpeername4)]
pub fn balancer_getpeer4(ctx: SockAddrContext) -> i32 {
    peer::getpeername::<V4>(&ctx)
}

/// Runs inside `getpeername()` of every connected IPv6 socket of the cgroup.
#[cgroup_sock_addr(getpeername6)]
pub fn balancer_getpeer6(ctx: SockAddrContext) -> i32 {
    peer::getpeername::<V6>(&ctx)
}

/// Runs once for every socket of the cgroup, at its last close.
#[cgroup_sock(sock_release)]
pub fn balancer_release(ctx: SockContext) -> i32 {
    release::sock_release(&ctx)
}

/// Runs at the milestones of every TCP connection of the cgroup.
#[sock_ops]
pub fn balancer_tcp(ctx: SockOpsContext) -> u32 {
    tcp::sock_ops(&ctx)
}

/// Runs for every packet that comes in over a device that leads out of the node.
#[classifier]
pub fn balancer_outside_in(ctx: TcContext) -> i32 {
    outside::incoming(ctx.skb.skb)
}

/// Runs for every packet that goes out over such a device.
#[classifier]
pub fn balancer_outside_out(ctx: TcContext) -> i32 {
    outside::outgoing(ctx.skb.skb)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // A reachable panic is an endless loop, which the verifier rejects: none is reachable.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
