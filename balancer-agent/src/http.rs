//! Serves a router with bounds on everything a client controls: how many connections there are,
//! how long each may last, and how much it may send.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket},
    pin,
    sync::watch::Receiver,
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};
use tracing::{debug, warn};

/// Connections served at a time. One more takes the place of the one that has waited longest without
/// a whole request: whoever holds connections and asks nothing keeps nobody out.
const CONNECTIONS: usize = 256;
/// What a connection has at least for its request, whoever else comes.
const HEAD_LEAST: Duration = Duration::from_millis(50);
/// What a connection that has asked has at least for its answer, whoever else comes.
const ANSWER_LEAST: Duration = Duration::from_secs(1);
/// Connections that may wait to be accepted. The kernel caps it (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;
/// What a client may take from its first byte to the last of the answer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// What the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(3);
/// Bytes buffered of a request.
const BUFFER: usize = 16 * 1024;
/// What answers under way may still take once the agent ends.
const FAREWELL: Duration = Duration::from_millis(500);
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

/// Listens at an address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// In the extensions of a response that goes on for as long as its client reads: no time limits it,
/// and it gives way to nobody. Whoever answers so sees to it that there are few.
#[derive(Clone, Copy, Debug)]
pub struct Lasting;

/// A connection that is served.
struct Served {
    task: AbortHandle,
    /// When its task first ran. Before, a request may lie there that nobody has read.
    begun: Arc<OnceLock<Instant>>,
    /// True once a whole head of a request has come.
    asked: Arc<AtomicBool>,
    /// True while the answer is [`Lasting`].
    lasts: Arc<AtomicBool>,
}

impl Served {
    /// When it may have to give way.
    fn due(&self) -> Instant {
        let begun = self.begun.get().copied().unwrap_or_else(Instant::now);
        begun + if self.asked.load(Relaxed) { ANSWER_LEAST } else { HEAD_LEAST }
    }
}

/// Makes room for one more connection; waits for it where all are young.
async fn make_room(served: &mut Vec<Served>, connections: &mut JoinSet<()>) {
    loop {
        while connections.try_join_next().is_some() {}
        served.retain(|one| !one.task.is_finished());
        if served.len() < CONNECTIONS {
            return;
        }
        let others = served.iter().enumerate().filter(|(_, one)| !one.lasts.load(Relaxed));
        let Some((at, due)) = others.map(|(at, one)| (at, one.due())).min_by_key(|(_, due)| *due)
        else {
            return;
        };
        tokio::select! {
            _ = connections.join_next() => {}
            () = tokio::time::sleep_until(due) => {
                // A request may have come meanwhile.
                if served[at].due() <= Instant::now() {
                    debug!("a client that asked nothing gives way to another");
                    served.remove(at).task.abort();
                }
            }
        }
    }
}

/// Serves until `shutdown` turns true or its sender is gone. Answers under way are then finished, if
/// that takes no longer than half a second: a client that holds a connection open holds nobody up.
pub async fn serve(listener: &impl Listener, router: Router, mut shutdown: Receiver<bool>) {
    let service = TowerToHyperService::new(router);
    let mut served = Vec::new();
    let mut connections = JoinSet::new();
    let stopped = shutdown.wait_for(|stop| *stop);
    pin!(stopped);
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        make_room(&mut served, &mut connections).await;
        let service = service.clone();
        let asked = Arc::new(AtomicBool::new(false));
        let has_asked = Arc::clone(&asked);
        let begun = Arc::new(OnceLock::new());
        let has_begun = Arc::clone(&begun);
        let lasts = Arc::new(AtomicBool::new(false));
        let does_last = Arc::clone(&lasts);
        let task = connections.spawn(async move {
            has_begun.get_or_init(Instant::now);
            let goes_on = Arc::clone(&does_last);
            let answer = service_fn(move |request| {
                has_asked.store(true, Relaxed);
                let (answered, goes_on) = (service.call(request), Arc::clone(&goes_on));
                async move {
                    let response = answered.await?;
                    let lasts = response.extensions().get::<Lasting>().is_some();
                    goes_on.store(lasts, Relaxed);
                    Ok::<_, Infallible>(response)
                }
            });
            let answered = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(BUFFER)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            pin!(answered);
            let mut ended = timeout(CONNECTION_TIME, &mut answered).await;
            if ended.is_err() && does_last.load(Relaxed) {
                ended = Ok(answered.await);
            }
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "a client broke off"),
                Err(_) => debug!("a client took too long"),
            }
        });
        served.push(Served { task, begun, asked, lasts });
    }
    let finish = async { while connections.join_next().await.is_some() {} };
    if timeout(FAREWELL, finish).await.is_err() {
        connections.shutdown().await;
    }
}
