//! The socket of the peers.

use std::{
    io::{self, IoSliceMut},
    net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage, bind, recvmmsg,
    setsockopt, socket,
    sockopt::{Ipv6V6Only, RcvBufForce},
};
use tokio::{io::Interest, net::UdpSocket};

/// Port that agents listen at, unless told otherwise.
pub const PORT: u16 = 10_357;
/// Bytes of a datagram that is read; no agent sends one so long.
pub const BUFFER: usize = 2_048;

/// Bytes that the kernel keeps of what was not received yet: all nodes of a cluster may have
/// something to report in the same moment, and each datagram takes 2 KiB there.
const QUEUE: usize = 4 << 20;

/// Datagrams that are received with one call.
const BATCH: usize = 32;

/// Errors that are taken from the socket before anything else is done.
const ERRORS: usize = 16;

/// A socket that reaches peers of both families, or of one.
#[derive(Debug)]
pub struct PeerSocket {
    socket: UdpSocket,
    /// The same: sending does not wait, and so need not know whether it would have to.
    sender: net::UdpSocket,
    local: SocketAddr,
}

/// Room for the datagrams that are received with one call.
pub struct Batch {
    buffers: Vec<[u8; BUFFER]>,
    /// The bytes of each that was received last.
    lengths: Vec<usize>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { buffers: vec![[0; BUFFER]; BATCH], lengths: Vec::with_capacity(BATCH) }
    }
}

impl Batch {
    /// The datagrams that were received last. What is longer than any of an agent is cut.
    pub fn datagrams(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> {
        self.buffers.iter_mut().zip(&self.lengths).map(|(buffer, length)| &mut buffer[..*length])
    }

    /// True if there may be more to receive.
    pub const fn is_full(&self) -> bool {
        self.lengths.len() == BATCH
    }

    fn receive(&mut self, socket: &UdpSocket) -> nix::Result<()> {
        self.lengths.clear();
        // Who sent it says nothing.
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
        let mut slices: Vec<_> =
            self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let received = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None)?;
        self.lengths.extend(received.map(|message| message.bytes));
        Ok(())
    }
}

/// The address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for peers at {address}: {source}; name another address with \
     --peer-bind-address, or end what listens there"
)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl PeerSocket {
    /// Listens at an address; without one at every address of the node.
    ///
    /// # Errors
    ///
    /// Where the address is not the node's, or is taken.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn bind(address: Option<SocketAddr>) -> Result<Self, BindError> {
        let every: SocketAddr = (Ipv6Addr::UNSPECIFIED, PORT).into();
        let first = Self::listen(address.unwrap_or(every));
        match first {
            // There is no IPv6 on this node.
            Err(error) if address.is_none() && error.source.kind() != io::ErrorKind::AddrInUse => {
                Self::listen((Ipv4Addr::UNSPECIFIED, PORT).into())
            }
            result => result,
        }
    }

    /// An unspecified IPv6 address stands for IPv4, too, whatever `net.ipv6.bindv6only` says.
    fn listen(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let sender = open(address).map_err(failed)?;
        // Beyond net.core.rmem_max, by CAP_NET_ADMIN. Without it more is lost in such a moment, and
        // repeated a second later.
        let _ = setsockopt(&sender, RcvBufForce, &QUEUE);
        let local = sender.local_addr().map_err(failed)?;
        let socket = sender.try_clone().and_then(UdpSocket::from_std).map_err(failed)?;
        Ok(Self { socket, sender, local })
    }

    /// Where it listens.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// True if peers of IPv6 can be reached.
    pub const fn reaches_ipv6(&self) -> bool {
        self.local.is_ipv6()
    }

    /// Sends a datagram; one that does not go at once is lost, as any may be.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses it.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let to = match to.ip() {
            IpAddr::V4(ip) if self.local.is_ipv6() => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), to.port())
            }
            _ => to,
        };
        self.sender.send_to(datagram, to).map(drop)
    }

    /// Waits until there is something to receive. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Where the socket is broken.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives the datagrams that there are now, as many as there is room for. An error of an earlier one that
    /// was sent is taken from the socket with them; of many such there is none for now.
    pub fn receive(&self, batch: &mut Batch) {
        for _ in 0..ERRORS {
            let receive = || batch.receive(&self.socket).map_err(io::Error::from);
            match self.socket.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}

/// A socket that does not wait.
fn open(address: SocketAddr) -> io::Result<net::UdpSocket> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &false)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &PeerSocket) -> Vec<String> {
        let mut batch = Batch::default();
        socket.receive(&mut batch);
        batch.datagrams().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    #[tokio::test]
    async fn what_there_is_is_received_in_its_order_and_no_more() {
        let [one, other] =
            [(), ()].map(|()| PeerSocket::bind(Some("127.0.0.1:0".parse().unwrap())).unwrap());
        let sent: Vec<_> = (0..BATCH + 3).map(|number| number.to_string()).collect();
        for text in &sent {
            one.send(other.local(), text.as_bytes()).unwrap();
        }
        one.send(other.local(), &[b'x'; 2 * BUFFER]).unwrap();
        other.readable().await.unwrap();
        assert_eq!(received(&other), sent[..BATCH]);
        let rest = received(&other);
        assert_eq!(rest[..3], sent[BATCH..]);
        assert_eq!(rest[3..], ["x".repeat(BUFFER)], "cut");
        assert_eq!(received(&other), [""; 0], "what was received before is gone");
    }

    #[tokio::test]
    async fn a_socket_of_both_families_reaches_both() {
        let Ok(both) = PeerSocket::bind(Some("[::]:0".parse().unwrap())) else {
            // A kernel without IPv6.
            return;
        };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let other = PeerSocket::bind(Some(address.parse().unwrap())).unwrap();
            both.send(other.local(), b"hello").unwrap();
            other.readable().await.unwrap();
            assert_eq!(received(&other), ["hello"]);
            assert_eq!(received(&other), [""; 0]);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let first = PeerSocket::bind(Some("127.0.0.1:0".parse().unwrap())).unwrap();
        let error = PeerSocket::bind(Some(first.local())).unwrap_err().to_string();
        assert!(error.contains(&first.local().to_string()), "{error}");
        assert!(error.contains("--peer-bind-address"), "{error}");
    }
}
