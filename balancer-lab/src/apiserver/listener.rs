//! The socket: there, away, and back.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{Api, http::answer};

/// Where the server is to go.
#[derive(Debug)]
pub enum Move {
    /// Close every connection and refuse new ones.
    Away,
    /// Close every connection and go on.
    Hangup,
    /// Listen again.
    Back,
}

/// A move, and who wants to know once it is made.
pub type Order = (Move, oneshot::Sender<io::Result<()>>);

/// Serves until nobody can give orders any more.
pub async fn run(
    api: Arc<Api>,
    tls: TlsAcceptor,
    address: SocketAddr,
    first: TcpListener,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    let mut accepted = 0;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((order, done)) = order else { return };
                let result = match order {
                    Move::Away => {
                        listener = None;
                        connections.shutdown().await;
                        Ok(())
                    }
                    Move::Hangup => {
                        connections.shutdown().await;
                        Ok(())
                    }
                    Move::Back if listener.is_some() => Ok(()),
                    Move::Back => TcpListener::bind(address).await.map(|bound| {
                        listener = Some(bound);
                    }),
                };
                // Whoever asked may have stopped waiting.
                let _ = done.send(result);
            }
            stream = accept(listener.as_ref()) => {
                accepted += 1;
                connections.spawn(serve(Arc::clone(&api), tls.clone(), stream, accepted));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        // What fails here is one client's connection, which is gone.
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

/// Clients come and go: how a connection ends is no news.
async fn serve(api: Arc<Api>, tls: TlsAcceptor, stream: TcpStream, connection: u64) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(api, connection, request).await) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
