//! The backends' sockets.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use balancer_lab::{
    Lab,
    error::{Attempt, Error, Result},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{Backlog, listen},
};

use crate::bench::BACKEND_PORT;

/// How long a connection may take to reach its backend.
const ARRIVAL: Duration = Duration::from_secs(5);

/// One listening socket in each backend's network namespace.
pub(super) struct Listeners(Vec<TcpListener>);

impl Listeners {
    pub(super) fn open(lab: &str, pods: &[String]) -> Result<Self> {
        let open = |pod: &String| {
            let place = Lab::find(Some(lab), Some(pod))?;
            let bind = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, BACKEND_PORT));
            let listener = place.within(bind)?.attempt(format!("listen in {pod}"))?;
            // A whole measured loop waits in the queue.
            listen(&listener, Backlog::MAXCONN).attempt("lengthen the queue")?;
            listener.set_nonblocking(true).attempt("make the listener non-blocking")?;
            Ok(listener)
        };
        Ok(Self(pods.iter().map(open).collect::<Result<_>>()?))
    }

    /// Accepts exactly `count` connections, those of each backend together.
    pub(super) fn accept(&self, count: u32) -> Result<Vec<Vec<Option<TcpStream>>>> {
        let deadline = Instant::now() + ARRIVAL;
        let mut accepted: Vec<Vec<_>> = self.0.iter().map(|_| Vec::new()).collect();
        loop {
            for (listener, open) in self.0.iter().zip(&mut accepted) {
                loop {
                    match listener.accept() {
                        Ok((stream, _)) => open.push(Some(stream)),
                        // Reset by the client while it waited.
                        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {
                            open.push(None);
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => Err(error).attempt("accept")?,
                    }
                }
            }
            let arrived: usize = accepted.iter().map(Vec::len).sum();
            let left = deadline.saturating_duration_since(Instant::now());
            if arrived == count as usize {
                return Ok(accepted);
            } else if arrived > count as usize || left.is_zero() {
                return Err(Error::Unmet(format!(
                    "{arrived} of {count} connections reached a backend"
                )));
            }
            let mut fds: Vec<PollFd<'_>> = self
                .0
                .iter()
                .map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN))
                .collect();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            poll(&mut fds, timeout).attempt("wait for connections")?;
        }
    }

    /// Accepts the only connection.
    pub(super) fn accept_one(&self) -> Result<TcpStream> {
        let stream = self.accept(1)?.into_iter().flatten().flatten().next();
        stream.ok_or_else(|| Error::Unmet("the connection was reset".into()))
    }
}

/// The number of connections on each backend.
pub(super) fn counts<T>(accepted: &[Vec<T>]) -> Vec<u32> {
    accepted.iter().map(|open| open.len() as u32).collect()
}
