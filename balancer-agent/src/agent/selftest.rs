//! A connection of the agent's own, which shows that the programs run for sockets of the cgroup,
//! find what the maps hold and lead `connect()` elsewhere.
//!
//! Sockets of UDP dial [`ADDRESS`]: the kernel then says whom they are connected to. It is a port of
//! 127.0.0.1 that only an entry of this agent leads to; without the programs it stays [`ADDRESS`].
//! Nothing is sent, nobody listens, and nothing that others do to any port has a part in it. It is
//! no Service's: nothing is chosen, charged or counted for it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getpeername, socket,
};
use rand::Rng as _;

use crate::maps::{MapsError, convert::SELF_TEST as ADDRESS, pinned::Probe, pins::Pins};

/// The way that is tried.
pub struct SelfTest {
    probe: Probe,
    /// Where [`ADDRESS`] leads. Drawn by each agent: what another one left in the maps proves
    /// nothing.
    to: SocketAddrV4,
}

/// Why a connection was not led.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The way can't be written.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// `connect()` failed.
    #[error("{hook}: {ADDRESS} led nowhere: {source}")]
    Connect {
        /// The hook that should have led it.
        hook: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was led somewhere else, or not at all.
    #[error("{hook}: {ADDRESS} led to {found} instead of {wanted}")]
    Astray {
        /// The hook that should have led it.
        hook: &'static str,
        /// Whom the socket is connected to.
        found: SocketAddr,
        /// Whom it should be connected to.
        wanted: SocketAddrV4,
    },
}

impl SelfTest {
    /// Opens the map in which the way stands.
    pub fn open(pins: &Pins) -> Result<Self, MapsError> {
        let port = rand::rng().random_range(1..=u16::MAX);
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Ok(Self { probe: Probe::open(pins)?, to })
    }

    /// Connects by sockets of both families. Where that fails, the way may have been removed from
    /// the map: it is written again, and tried once more.
    pub fn run(&mut self) -> Result<(), Failure> {
        if self.dial_all().is_ok() {
            return Ok(());
        }
        self.probe.lead(self.to.port())?;
        self.dial_all()
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
        let found = peer(address).map_err(|source| Failure::Connect { hook, source })?;
        let wanted = self.to;
        if (found.ip().to_canonical(), found.port()) == (IpAddr::from(*wanted.ip()), wanted.port())
        {
            return Ok(());
        }
        Err(Failure::Astray { hook, found, wanted })
    }
}

/// Whom a socket is connected to that has dialled this address.
fn peer(address: SocketAddr) -> io::Result<SocketAddr> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let found: SockaddrStorage = getpeername(socket.as_raw_fd())?;
    let v4 = found.as_sockaddr_in().map(|found| SocketAddr::from(SocketAddrV4::from(*found)));
    let v6 = || found.as_sockaddr_in6().map(|found| SocketAddr::from(SocketAddrV6::from(*found)));
    v4.or_else(v6).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
