//! A connection of the agent's own, which shows that the programs run for sockets of the cgroup,
//! find what the maps hold and lead `connect()` elsewhere.
//!
//! It dials [`ADDRESS`], where nobody listens, and must arrive at a listener of the agent. Without
//! the programs it is refused at once and leaves no host. It is no Service's: nothing is chosen,
//! charged or counted for it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt::Linger};

use crate::{
    kernel::pins::Pins,
    maps::{MapsError, pinned::Probe},
};

/// What is dialled. Of the host itself; a number nobody has a reason to use.
pub const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 66, 76, 82), 1);

/// How long a connection over loopback may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The listener and the way to it.
pub struct SelfTest {
    listener: TcpListener,
    probe: Probe,
}

/// Why a connection did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The way to the listener can't be written.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// `connect()` failed.
    #[error("{hook}: {ADDRESS} led nowhere: {source}")]
    Connect {
        /// The hook that should have led it.
        hook: &'static str,
        /// What `connect()` said.
        source: io::Error,
    },
    /// It arrived somewhere else.
    #[error("{hook}: {ADDRESS} led to something else than the agent")]
    Astray {
        /// The hook that should have led it.
        hook: &'static str,
    },
}

impl SelfTest {
    /// Listens, and leads the address there.
    pub fn open(pins: &Pins) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let probe = Probe::open(pins).map_err(io::Error::other)?;
        Ok(Self { listener, probe })
    }

    /// Connects by sockets of both families. Where that fails, the way may have been removed from
    /// the map: it is written again, and tried once more.
    pub fn run(&mut self) -> Result<(), Failure> {
        if self.dial_all().is_ok() {
            return Ok(());
        }
        self.lead()?;
        self.dial_all()
    }

    fn lead(&mut self) -> Result<(), MapsError> {
        let port = self.listener.local_addr().map_or(0, |address| address.port());
        self.probe.lead(ADDRESS, port)
    }

    fn dial_all(&self) -> Result<(), Failure> {
        let mapped: Ipv6Addr = ADDRESS.ip().to_ipv6_mapped();
        self.dial("connect4", ADDRESS.into())?;
        match self.dial("connect6", (mapped, ADDRESS.port()).into()) {
            // A kernel without IPv6 has no such sockets to be balanced either.
            Err(Failure::Connect { source, .. })
                if source.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
            {
                Ok(())
            }
            dialled => dialled,
        }
    }

    fn dial(&self, hook: &'static str, address: SocketAddr) -> Result<(), Failure> {
        let failed = |source| Failure::Connect { hook, source };
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
        // Reset when it is closed: a test every few seconds should leave no TIME-WAIT behind.
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream, Linger, &at_once).map_err(|error| failed(error.into()))?;
        let from = stream.local_addr().map_err(failed)?;
        if self.arrived(from) { Ok(()) } else { Err(Failure::Astray { hook }) }
    }

    /// Whether a connection from this address arrived. It is there once `connect()` has returned;
    /// those of others are turned away.
    fn arrived(&self, from: SocketAddr) -> bool {
        let from = (from.ip().to_canonical(), from.port());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.listener.accept() {
                Ok((_, peer)) if (peer.ip(), peer.port()) == from => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        false
    }
}
