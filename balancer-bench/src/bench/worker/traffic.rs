//! An established connection, both ends in one thread.

use std::{
    io::{Read, Write},
    net::{SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use balancer_lab::error::{Attempt, Result};
use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBuf, SndBuf},
};

use super::listeners::Listeners;
use crate::bench::{WARM_UP, job::CHUNK};

/// What a request and its answer weigh.
const MESSAGE: usize = 100;
/// A lost packet must fail the run, not hang it.
const PATIENCE: Duration = Duration::from_secs(10);

struct Ends {
    client: TcpStream,
    server: TcpStream,
}

impl Ends {
    fn open(target: SocketAddrV4, listeners: &Listeners) -> Result<Self> {
        let client = TcpStream::connect(target).attempt(format!("connect to {target}"))?;
        let server = listeners.accept_one()?;
        for end in [&client, &server] {
            end.set_nonblocking(false)
                .and_then(|()| end.set_nodelay(true))
                .and_then(|()| end.set_read_timeout(Some(PATIENCE)))
                .and_then(|()| end.set_write_timeout(Some(PATIENCE)))
                .attempt("set up a connection")?;
            setsockopt(end, SndBuf, &(4 * CHUNK)).attempt("set SO_SNDBUF")?;
            setsockopt(end, RcvBuf, &(4 * CHUNK)).attempt("set SO_RCVBUF")?;
        }
        Ok(Self { client, server })
    }
}

/// Moves `buffer` from one end to the other.
fn carry(mut from: &TcpStream, mut to: &TcpStream, buffer: &mut [u8]) -> Result<()> {
    from.write_all(buffer).attempt("send")?;
    to.read_exact(buffer).attempt("receive")
}

pub(super) fn ping_pong(
    target: SocketAddrV4,
    exchanges: u32,
    listeners: &Listeners,
) -> Result<Vec<u32>> {
    let Ends { client, server } = Ends::open(target, listeners)?;
    let mut message = [b'x'; MESSAGE];
    let mut exchange = || {
        let before = Instant::now();
        carry(&client, &server, &mut message)?;
        carry(&server, &client, &mut message)?;
        Ok(u32::try_from(before.elapsed().as_nanos()).unwrap_or(u32::MAX))
    };
    for _ in 0..WARM_UP {
        exchange()?;
    }
    (0..exchanges).map(|_| exchange()).collect()
}

pub(super) fn bulk(target: SocketAddrV4, chunks: u32, listeners: &Listeners) -> Result<f64> {
    let Ends { client, server } = Ends::open(target, listeners)?;
    let mut chunk = vec![b'x'; CHUNK];
    for _ in 0..WARM_UP {
        carry(&client, &server, &mut chunk)?;
    }
    let before = Instant::now();
    for _ in 0..chunks {
        carry(&client, &server, &mut chunk)?;
    }
    Ok(before.elapsed().as_secs_f64())
}
