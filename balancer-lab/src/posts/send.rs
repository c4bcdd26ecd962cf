//! Clients: each sends some requests over a connection that it keeps, with pauses.

use std::{io, thread};

use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use super::{
    lazy::Lazy,
    options::{SendOptions, Way},
    pooled::Pooled,
};

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
