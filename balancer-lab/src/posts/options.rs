//! How requests are sent.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;

/// What a client does with its connection while it rests, and what it speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Way {
    /// HTTP/1.1 of hyper, which reads while it rests
    Reads,
    /// HTTP/1.1 over a socket that is read for an answer only, as of http.client
    Rests,
    /// The same, and a request that failed over a kept connection is sent again, as by
    /// HttpURLConnection
    RestsAndRepeats,
    /// Lines, to which there is no answer
    SendsAlone,
    /// HTTP/1.1 over TLS, read for an answer only
    TlsRests,
    /// HTTP/1.1 of hyper over TLS, which reads while it rests
    TlsReads,
    /// HTTP/2 of hyper
    Http2,
}

impl Way {
    /// True over TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::TlsRests | Self::TlsReads)
    }
}

/// What clients do.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// Where to connect to.
    pub target: SocketAddr,
    /// How.
    pub way: Way,
    /// How many clients, each with a connection of its own.
    pub clients: u64,
    /// Requests of each.
    pub requests: u64,
    /// How long a client rests before its next request.
    pub pause: Duration,
    /// The certificate of the authority to trust, for TLS.
    pub authority: Option<PathBuf>,
}
