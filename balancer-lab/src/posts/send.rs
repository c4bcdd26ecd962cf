//! Clients: each sends some requests over a connection that it keeps, with pauses.

use std::{io, net::SocketAddr, path::PathBuf, thread, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use super::{lazy::Lazy, pooled::Pooled};

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

/// What a client was told of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Said {
    /// Its identifier.
    pub id: u64,
    /// Why it failed; none if it was done.
    pub error: Option<String>,
}

/// Sends all requests and says what became of each.
pub fn send(options: &SendOptions) -> io::Result<Vec<Said>> {
    let all = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..options.clients).map(|client| scope.spawn(move || one(options, client))).collect();
        let join = |client: thread::ScopedJoinHandle<'_, io::Result<Vec<Said>>>| {
            client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
        };
        clients.into_iter().map(join).collect::<io::Result<Vec<_>>>()
    })?;
    Ok(all.into_iter().flatten().collect())
}

fn one(options: &SendOptions, client: u64) -> io::Result<Vec<Said>> {
    let ids = (0..options.requests).map(|request| client * options.requests + request);
    let said = |id, done: Result<(), String>| Said { id, error: done.err() };
    match options.way {
        Way::Reads | Way::TlsReads | Way::Http2 => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut pooled = Pooled::new(options)?;
                let mut all = Vec::new();
                for id in ids {
                    if id % options.requests > 0 {
                        // Inside the runtime: it must see its connection being closed meanwhile.
                        tokio::time::sleep(options.pause).await;
                    }
                    all.push(said(id, pooled.post(id).await));
                }
                Ok(all)
            })
        }
        Way::Rests | Way::RestsAndRepeats | Way::SendsAlone | Way::TlsRests => {
            let mut lazy = Lazy::new(options)?;
            let post = |id| {
                if id % options.requests > 0 {
                    thread::sleep(options.pause);
                }
                said(id, lazy.post(id).map_err(|error| error.to_string()))
            };
            Ok(ids.map(post).collect())
        }
    }
}
