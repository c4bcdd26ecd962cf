//! One of the Services that are dialled side by side: its address, and a listener in each pod.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use balancer_lab::{
    Pod,
    error::{Attempt as _, Error, Result},
    manifests::{Endpoint, Service},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{Backlog, listen},
};

use super::dialer::Dialer;

/// Where the first of them listens in its pods; each has a port of its own, and so backends of its
/// own.
const FIRST_PORT: u16 = 8_080;
/// How long a connection may take to reach its backend.
const ARRIVAL: Duration = Duration::from_secs(5);

/// A Service, and its backends as they are: each has a listener.
pub(super) struct Lane {
    number: u8,
    listeners: Vec<TcpListener>,
    /// The backends' ends of connections, by the address of the other end.
    arrived: HashMap<SocketAddr, (usize, TcpStream)>,
}

impl Lane {
    /// Listens in these pods.
    pub(super) fn open(number: u8, pods: &[Pod]) -> Result<Self> {
        let mut lane = Self { number, listeners: Vec::new(), arrived: HashMap::new() };
        for pod in pods {
            let address = lane.backend(pod);
            let listener = pod.place().within(move || TcpListener::bind(address))?;
            let listener = listener.attempt(format!("listen at {address} in {}", pod.name()))?;
            listen(&listener, Backlog::MAXCONN).attempt("lengthen the queue")?;
            listener.set_nonblocking(true).attempt("make the listener non-blocking")?;
            lane.listeners.push(listener);
        }
        Ok(lane)
    }

    /// The name of its Service.
    pub(super) fn name(&self) -> String {
        format!("lane-{}", self.number)
    }

    /// Where a pod serves it.
    pub(super) fn backend(&self, pod: &Pod) -> SocketAddr {
        pod.socket(FIRST_PORT + u16::from(self.number))
    }

    /// Its Service with these pods, each on the node of this name.
    pub(super) fn service<'a>(&self, pods: impl Iterator<Item = (&'a Pod, &'a str)>) -> Service {
        let port = FIRST_PORT + u16::from(self.number);
        let endpoint = |(pod, node): (&Pod, &str)| Endpoint::ready(pod.ip()).on(node);
        Service {
            endpoints: pods.map(endpoint).collect(),
            ..Service::new(&self.name(), *self.target().ip(), 80, port, [] as [IpAddr; 0])
        }
    }

    const fn target(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 96, 1, self.number), 80)
    }

    /// Has a client connect. Returns the client's address, and which pod has accepted it.
    pub(super) fn connect(&mut self, dialer: &Dialer) -> Result<(SocketAddr, usize)> {
        let local = dialer.open(self.target())?;
        let deadline = Instant::now() + ARRIVAL;
        loop {
            self.accept()?;
            if let Some((pod, _)) = self.arrived.get(&local) {
                return Ok((local, *pod));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Unmet(format!("{local} is connected to none of the pods")));
            }
            let fds = self.listeners.iter();
            let mut fds: Vec<PollFd<'_>> =
                fds.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            poll(&mut fds, timeout).attempt("wait for connections")?;
        }
    }

    /// Has a client close a connection.
    pub(super) fn close(&mut self, dialer: &Dialer, local: SocketAddr) -> Result<()> {
        dialer.close(local)?;
        self.arrived.remove(&local);
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        for (pod, listener) in self.listeners.iter().enumerate() {
            loop {
                match listener.accept() {
                    Ok((stream, from)) => drop(self.arrived.insert(from, (pod, stream))),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => Err(error).attempt("accept")?,
                }
            }
        }
        Ok(())
    }
}
