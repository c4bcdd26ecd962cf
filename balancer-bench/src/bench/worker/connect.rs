//! Fresh connections, one after another.

use std::{
    hint::black_box,
    net::{SocketAddrV4, TcpStream},
    os::fd::AsRawFd,
    time::Instant,
};

use balancer_lab::error::{Attempt, Error, Result};
use nix::{
    libc,
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt::Linger,
    },
};

use super::listeners::Listeners;
use crate::bench::job::Connects;

/// A close resets the connection: neither end lingers in TIME_WAIT, so no run is short of ports.
const RESET: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

/// Opens and closes `warm_up` and then `count` connections; only those are measured.
pub(super) fn run(
    targets: &[SocketAddrV4],
    [warm_up, count]: [u32; 2],
    ask_peer: bool,
    listeners: &Listeners,
) -> Result<Connects> {
    let targets: Vec<SockaddrIn> = targets.iter().copied().map(SockaddrIn::from).collect();
    if targets.is_empty() {
        return Err(Error::Unmet("no target to connect to".into()));
    }
    let mut turns = targets.iter().cycle();
    for target in turns.by_ref().take(warm_up as usize) {
        one(target, ask_peer)?;
    }
    listeners.accept(warm_up)?;
    let mut nanos = Vec::with_capacity(count as usize);
    let mut close_nanos = Vec::with_capacity(count as usize);
    let start = Instant::now();
    for target in turns.take(count as usize) {
        let [connect, close] = one(target, ask_peer)?;
        nanos.push(connect);
        close_nanos.push(close);
    }
    Ok(Connects { nanos, close_nanos, seconds: start.elapsed().as_secs_f64() })
}

/// The nanoseconds inside `connect()` and inside `close()`.
fn one(target: &SockaddrIn, ask_peer: bool) -> Result<[u32; 2]> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).attempt("socket()")?;
    setsockopt(&socket, Linger, &RESET).attempt("set SO_LINGER")?;
    let before = Instant::now();
    let result = connect(socket.as_raw_fd(), target);
    let took = before.elapsed();
    result.attempt(format!("connect to {target}"))?;
    let socket = TcpStream::from(socket);
    if ask_peer {
        black_box(socket.peer_addr().attempt("getpeername()")?);
    }
    let before = Instant::now();
    drop(socket);
    let closed = before.elapsed();
    Ok([took, closed].map(|took| u32::try_from(took.as_nanos()).unwrap_or(u32::MAX)))
}
