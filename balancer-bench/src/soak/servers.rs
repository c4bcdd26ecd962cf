//! The backends: listeners in each backend's network namespace, served by threads of this process.

use std::{
    collections::VecDeque,
    net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use balancer_lab::{
    Place,
    error::{Attempt, Result},
};
use nix::sys::socket::{Backlog, Shutdown, listen, shutdown};
use socket2::SockRef;

use super::{
    life::{Target, Transport},
    wire::target_port,
};
use std::os::fd::AsRawFd as _;

/// Connections that a backend keeps before it closes the oldest.
const KEPT: usize = 1024;
/// How often what answers datagrams looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);
const SERVED: [Target; 4] = [Target::Keep, Target::Close, Target::Reset, Target::One];

/// The listeners of one backend. Dropping it ends their threads.
#[derive(Debug)]
pub(super) struct Servers {
    listeners: Vec<(TcpListener, Option<JoinHandle<()>>)>,
    /// What answers datagrams.
    answering: Vec<(Arc<AtomicBool>, Option<JoinHandle<()>>)>,
    /// Nobody reads: what comes when its buffer is full is lost, as UDP may be.
    _sink: UdpSocket,
}

impl Servers {
    /// Listens in a pod. Every socket serves both IP versions.
    pub(super) fn start(place: &Place) -> Result<Self> {
        let open = || {
            let bound: Result<Vec<_>, _> = SERVED
                .iter()
                .map(|target| {
                    let port = target_port(*target, Transport::Tcp);
                    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).map(|bound| (*target, bound))
                })
                .collect();
            let port = target_port(Target::Keep, Transport::Udp);
            let answering = [Target::Answer, Target::Echo].map(|target| {
                let port = target_port(target, Transport::Udp);
                UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
            });
            let answering = answering.into_iter().collect::<Result<Vec<_>, _>>();
            Ok((bound?, answering?, UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?))
        };
        let opened: std::io::Result<_> = place.within(open)?;
        let (bound, asked, sink) = opened.attempt(format!("listen in {}", place.netns()))?;
        let mut listeners = Vec::new();
        for (target, listener) in bound {
            listen(&listener, Backlog::MAXCONN).attempt("lengthen the queue")?;
            let own = listener.try_clone().attempt("dup()")?;
            listeners.push((listener, Some(thread::spawn(move || serve(target, &own)))));
        }
        let mut answering = Vec::new();
        for socket in asked {
            socket.set_read_timeout(Some(LOOK)).attempt("set SO_RCVTIMEO")?;
            let ended = Arc::<AtomicBool>::default();
            let told = Arc::clone(&ended);
            answering.push((ended, Some(thread::spawn(move || answer(&socket, &told)))));
        }
        Ok(Self { listeners, answering, _sink: sink })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (listener, thread) in &mut self.listeners {
            // Wakes the thread; there is nothing to do about a failure.
            let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
            let _ = thread.take().map(JoinHandle::join);
        }
        for (ended, _) in &self.answering {
            ended.store(true, SeqCst);
        }
        for (_, thread) in &mut self.answering {
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

/// Sends back what comes, until told to end.
fn answer(socket: &UdpSocket, ended: &AtomicBool) {
    let mut text = [0; 16];
    while !ended.load(SeqCst) {
        if let Ok((length, from)) = socket.recv_from(&mut text) {
            // The client may be gone.
            let _ = socket.send_to(&text[..length], from);
        }
    }
}

/// Until the listener is shut down.
fn serve(target: Target, listener: &TcpListener) {
    let mut kept: VecDeque<TcpStream> = VecDeque::new();
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // Reset by the client while it waited.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
            Err(_) => return,
        };
        match target {
            Target::Reset => {
                // Where it is reset already, there is nothing to set.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            Target::Close => {}
            _ => {
                kept.push_back(stream);
                if kept.len() > KEPT {
                    kept.pop_front();
                }
            }
        }
    }
}
