//! The backend: HTTP/1.1 or gRPC that answers with its name and the number of the connection.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Response,
    body::Bytes,
    header,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinSet,
};

use super::{
    answer::{Answer, BACKEND, CONNECTION},
    grpc,
};

/// What is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, which hyper speaks.
    Http,
    /// HTTP/2 of hyper.
    Http2,
    /// gRPC over HTTP/2, which tonic speaks: its health service.
    Grpc,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// What is spoken.
    pub protocol: Protocol,
    /// The name to answer with.
    pub name: String,
    /// The addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// How long an HTTP request occupies the backend. One at a time: so a backend has a capacity, as
    /// a pod with a CPU limit has, and piling connections on it costs throughput.
    pub work: Duration,
    /// How long passes before a request is answered, however many there are.
    pub delay: Duration,
}

struct Backend {
    protocol: Protocol,
    name: String,
    work: Duration,
    delay: Duration,
    accepted: AtomicU64,
    busy: Mutex<()>,
}

/// Serves until the process ends. Prints `listening` once every address accepts.
pub async fn serve(options: ServeOptions) -> io::Result<()> {
    let backend = Arc::new(Backend {
        protocol: options.protocol,
        name: options.name,
        work: options.work,
        delay: options.delay,
        accepted: AtomicU64::new(0),
        busy: Mutex::new(()),
    });
    let mut listeners = JoinSet::new();
    for address in options.listen {
        let listener = TcpListener::bind(address).await?;
        listeners.spawn(accept(listener, Arc::clone(&backend)));
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening")?;
    stdout.flush()?;
    drop(stdout);
    while let Some(ended) = listeners.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn accept(listener: TcpListener, backend: Arc<Backend>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = backend.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let backend = Arc::clone(&backend);
        tokio::spawn(async move {
            let answer = Answer { backend: backend.name.clone(), connection };
            // Clients come and go, and are killed: how a connection ends is no news.
            match backend.protocol {
                Protocol::Http => drop(serve_http(stream, &backend, &answer).await),
                Protocol::Http2 => drop(serve_http2(stream, &backend, &answer).await),
                Protocol::Grpc => drop(grpc::serve(stream, &answer, backend.delay).await),
            }
        });
    }
}

async fn serve_http(stream: TcpStream, backend: &Backend, said: &Answer) -> hyper::Result<()> {
    let service = service_fn(|_| answer(backend, said));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}

async fn serve_http2(
    stream: TcpStream,
    backend: &Arc<Backend>,
    said: &Answer,
) -> hyper::Result<()> {
    let service = service_fn(|_| {
        let (backend, said) = (Arc::clone(backend), said.clone());
        async move { answer(&backend, &said).await }
    });
    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
}

async fn answer(
    backend: &Backend,
    answer: &Answer,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    if !backend.work.is_zero() {
        let _turn = backend.busy.lock().await;
        tokio::time::sleep(backend.work).await;
    }
    if !backend.delay.is_zero() {
        tokio::time::sleep(backend.delay).await;
    }
    let body = serde_json::to_vec(answer).expect("a name and a number are always JSON");
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header(BACKEND, answer.backend.as_str())
        .header(CONNECTION, answer.connection)
        .body(Full::new(Bytes::from(body)))
}
