//! The server, in the process of the test.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{Request, Response, body::Bytes, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsAcceptor;

use super::Way;
use crate::{
    Place,
    apiserver::tls::Identity,
    error::{Attempt as _, Result, on},
};

/// What the server has seen.
#[derive(Debug, Default)]
struct Seen {
    /// How often each request was executed.
    executed: BTreeMap<u64, u32>,
    /// Connections that ended as between two requests, and errors of the others.
    ended: u64,
    broken: Vec<String>,
}

/// A server for clients of one way. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    seen: Arc<Mutex<Seen>>,
    _runtime: Runtime,
}

impl Server {
    /// Listens on the address in the place. `work` passes before a request is answered. The
    /// certificate of its authority is written to a file, for TLS.
    pub fn start(
        place: &Place,
        address: SocketAddr,
        way: Way,
        work: Duration,
        authority: &Path,
    ) -> Result<Self> {
        let tls = if way.is_tls() {
            let identity = Identity::generate(address.ip())?;
            std::fs::write(authority, &identity.authority_pem).attempt(on("write", authority))?;
            Some(identity.acceptor)
        } else {
            None
        };
        let listener = place.within(|| std::net::TcpListener::bind(address))?;
        let listener = listener.attempt(format!("listen on {address}"))?;
        listener.set_nonblocking(true).attempt("set a listener up")?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.attempt("start a runtime")?;
        let seen = Arc::<Mutex<Seen>>::default();
        let listener = runtime.block_on(async { TcpListener::from_std(listener) });
        let listener = listener.attempt("set a listener up")?;
        runtime.spawn(accept(listener, way, tls, work, Arc::clone(&seen)));
        Ok(Self { seen, _runtime: runtime })
    }

    /// How often each request was executed.
    pub fn executed(&self) -> BTreeMap<u64, u32> {
        lock(&self.seen).executed.clone()
    }

    /// How many connections have ended as between two requests.
    pub fn ended(&self) -> u64 {
        lock(&self.seen).ended
    }

    /// Errors of the connections that ended otherwise.
    pub fn broken(&self) -> Vec<String> {
        lock(&self.seen).broken.clone()
    }
}

async fn accept(
    listener: TcpListener,
    way: Way,
    tls: Option<TlsAcceptor>,
    work: Duration,
    seen: Arc<Mutex<Seen>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let ended = serve(stream, way, tls, work, &seen).await;
            let mut seen = lock(&seen);
            match ended {
                Ok(()) => seen.ended += 1,
                Err(error) => seen.broken.push(error),
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    way: Way,
    tls: Option<TlsAcceptor>,
    work: Duration,
    seen: &Arc<Mutex<Seen>>,
) -> std::result::Result<(), String> {
    let said = |error: io::Error| error.to_string();
    stream.set_nodelay(true).map_err(said)?;
    match tls {
        Some(tls) => http(tls.accept(stream).await.map_err(said)?, work, seen).await,
        None if way == Way::SendsAlone => lines(stream, seen).await.map_err(said),
        None => http(stream, work, seen).await,
    }
}

async fn lines(stream: TcpStream, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        execute(seen, &line);
    }
    Ok(())
}

async fn http<T>(
    stream: T,
    work: Duration,
    seen: &Arc<Mutex<Seen>>,
) -> std::result::Result<(), String>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(|request: Request<_>| {
        execute(seen, request.uri().path().trim_start_matches('/'));
        async move {
            tokio::time::sleep(work).await;
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(TokioIo::new(stream), service).await;
    served.map_err(|error| format!("{error:?}"))
}

fn execute(seen: &Mutex<Seen>, id: &str) {
    if let Ok(id) = id.parse() {
        *lock(seen).executed.entry(id).or_default() += 1;
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
