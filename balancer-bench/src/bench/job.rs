//! What the measuring process is asked, a line of JSON each. It answers with a line of JSON: the
//! type named with each job, in a `Result`.

use std::net::{SocketAddr, SocketAddrV4};

use serde::{Deserialize, Serialize};

/// Something to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Job {
    /// Open and close connections one after another, by turns to each target. Answer:
    /// [`Connects`]. The backends' ends stay open until [`Job::Accept`].
    Connect {
        /// Where to.
        targets: Vec<SocketAddrV4>,
        /// How many.
        count: u32,
        /// How many more to open first that are not measured.
        warm_up: u32,
        /// Whether to ask each socket for its peer.
        ask_peer: bool,
    },
    /// Use sockets in some way, one after another, with the first backend listening for them.
    /// Answer: `()`.
    Use {
        /// Where to.
        target: SocketAddr,
        /// How.
        usage: SocketUse,
        /// How often.
        count: u32,
    },
    /// Accept and close this many connections. Answer: `Vec<u32>`, the number on each backend.
    Accept {
        /// How many.
        count: u32,
    },
    /// Send 100 bytes there and back over one connection. Answer: `Vec<u32>`, nanoseconds of each
    /// exchange.
    PingPong {
        /// Where to.
        target: SocketAddrV4,
        /// How often.
        exchanges: u32,
    },
    /// Send many bytes over one connection. Answer: `f64`, seconds.
    Bulk {
        /// Where to.
        target: SocketAddrV4,
        /// How many, in whole chunks of [`CHUNK`].
        chunks: u32,
    },
    /// Let as many threads as connections are wanted open one each at the same moment, count them
    /// by backend while all are open, and close them. Answer: `Vec<Vec<u32>>`, for each trial the
    /// number on each backend.
    Spread {
        /// Where to.
        target: SocketAddrV4,
        /// Connections, and threads, of a trial.
        connections: u32,
        /// How often.
        trials: u32,
    },
}

/// What to do with sockets that are not TCP over IPv4.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum SocketUse {
    /// Connect a fresh TCP socket over IPv6 and reset it.
    Tcp6,
    /// Connect a fresh UDP socket and close it.
    UdpConnect,
    /// Send one datagram with a fresh UDP socket and close that.
    UdpFirst,
    /// Send one datagram after another with one UDP socket.
    UdpFurther,
}

/// Bytes that [`Job::Bulk`] sends at a time: less than a socket buffers, as one thread does both
/// ends.
pub const CHUNK: usize = 64 * 1024;

/// What [`Job::Connect`] took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Connects {
    /// Nanoseconds inside each `connect()`.
    pub nanos: Vec<u32>,
    /// Nanoseconds inside each `close()`.
    pub close_nanos: Vec<u32>,
    /// Seconds of the whole loop: `socket()`, `connect()`, `close()`.
    pub seconds: f64,
}
