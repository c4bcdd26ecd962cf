//! Serves a router with bounds on everything a client controls: how many connections there are,
//! how long each may last, and how much it may send.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    pin,
    sync::{Semaphore, watch::Receiver},
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

/// Connections served at a time; further ones wait in the backlog of the kernel.
const CONNECTIONS: usize = 64;
/// What a client may take from its first byte to the last of the answer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// What the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(3);
/// Bytes buffered of a request.
const BUFFER: usize = 16 * 1024;
/// Before accepting again when the process is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where connections come from.
pub trait Listener: Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Ok(Self::accept(self).await?.0)
    }
}

/// Serves until `shutdown` turns true or its sender is gone; answers under way are finished.
pub async fn serve(listener: &impl Listener, router: Router, mut shutdown: Receiver<bool>) {
    let service = TowerToHyperService::new(router);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let stopped = shutdown.wait_for(|stop| *stop);
    pin!(stopped);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            _ = &mut stopped => break,
            next = next => next,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let service = service.clone();
        connections.spawn(async move {
            let answered = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(BUFFER)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            match timeout(CONNECTION_TIME, answered).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "a client broke off"),
                Err(_) => debug!("a client took too long"),
            }
            drop(slot);
        });
    }
    while connections.join_next().await.is_some() {}
}
