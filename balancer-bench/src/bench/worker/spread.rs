//! Connections opened at the same moment, counted by backend.

use std::{
    net::{SocketAddrV4, TcpStream},
    sync::Barrier,
    thread,
};

use balancer_lab::error::{Attempt, Error, Result};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt::Linger},
};

use super::listeners::{self, Listeners};

pub(super) fn trial(
    target: SocketAddrV4,
    connections: u32,
    listeners: &Listeners,
) -> Result<Vec<u32>> {
    let barrier = Barrier::new(connections as usize);
    let open: Vec<TcpStream> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    TcpStream::connect(target).attempt(format!("connect to {target}"))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                let panicked = |_| Err(Error::Unmet("a thread of the trial panicked".into()));
                thread.join().unwrap_or_else(panicked)
            })
            .collect::<Result<_>>()
    })?;
    let accepted = listeners.accept(connections)?;
    for stream in &open {
        let reset = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(stream, Linger, &reset).attempt("set SO_LINGER")?;
    }
    Ok(listeners::counts(&accepted))
}
