//! A connector that holds no more connections than a pool may have.
//!
//! hyper's pool has no upper bound, and races a new connection with the return of an idle one: a
//! client may end up with more connections than it ever has requests in flight. Pools of services
//! are bounded; so is this one.

use std::{
    error::Error,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    Uri,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower_service::Service;

/// Connects over TCP once one of its permits is free.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    tcp: HttpConnector,
    permits: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(connections: usize) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        Self { tcp, permits: Arc::new(Semaphore::new(connections)) }
    }
}

impl Service<Uri> for Bounded {
    type Response = Permitted;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Permitted, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let permits = Arc::clone(&self.permits);
        let mut tcp = self.tcp.clone();
        Box::pin(async move {
            let permit = permits.acquire_owned().await?;
            Ok(Permitted { stream: tcp.call(uri).await?, _permit: permit })
        })
    }
}

/// A connection that gives its permit back when it closes.
#[derive(Debug)]
pub(super) struct Permitted {
    stream: TokioIo<TcpStream>,
    _permit: OwnedSemaphorePermit,
}

impl Connection for Permitted {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Permitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Permitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
