//! Sockets of other processes, found and ended through sock_diag(7).
//!
//! `SOCK_DESTROY` (Linux 4.5, CONFIG_INET_DIAG_DESTROY) disconnects a UDP socket, resets a TCP
//! connection, and has the program read ECONNABORTED, at once where it waits.

pub mod tcp;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DESTROY, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

/// Ends UDP sockets in the network namespace of this thread: those with the given cookies that are
/// connected to the address beside the cookie. Gives the cookies of those that were.
pub fn end_udp(wanted: &BTreeMap<u64, SocketAddr>) -> io::Result<BTreeSet<u64>> {
    let mut netlink = Netlink::open()?;
    let mut ended = BTreeSet::new();
    for family in [AF_INET, AF_INET6] {
        for id in netlink.connected(family)? {
            let cookie = u64::from_ne_bytes(id.cookie);
            if wanted.get(&cookie) == Some(&peer(&id))
                && netlink.destroy(request(family, IPPROTO_UDP, id, NLM_F_ACK))?
            {
                ended.insert(cookie);
            }
        }
    }
    Ok(ended)
}

/// The connected UDP sockets in the network namespace of this thread, by their cookies, and to whom.
pub fn connected_udp() -> io::Result<BTreeMap<u64, SocketAddr>> {
    let mut netlink = Netlink::open()?;
    let mut found = BTreeMap::new();
    for family in [AF_INET, AF_INET6] {
        for id in netlink.connected(family)? {
            found.insert(u64::from_ne_bytes(id.cookie), peer(&id));
        }
    }
    Ok(found)
}

/// To whom a socket is connected.
fn peer(id: &SocketId) -> SocketAddr {
    (id.destination_address.to_canonical(), id.destination_port).into()
}

/// Whether the kernel can end sockets: asked to end one that is none, it says so.
pub fn can_end() -> io::Result<bool> {
    let nobody = SocketId { cookie: u64::MAX.to_ne_bytes(), ..SocketId::new_v4() };
    match Netlink::open()?.destroy(request(AF_INET, IPPROTO_UDP, nobody, NLM_F_ACK)) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        Ok(Self { socket, buffer: Vec::new() })
    }

    /// The connected UDP sockets of a family.
    fn connected(&mut self, family: u8) -> io::Result<Vec<SocketId>> {
        let any = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
        self.send(&request(family, IPPROTO_UDP, any, NLM_F_DUMP))?;
        let mut found = Vec::new();
        loop {
            for message in self.receive()? {
                match message {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        found.push(response.header.socket_id);
                    }
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// The one socket that a request names; none if it is gone.
    fn get(&mut self, request: &[u8]) -> io::Result<Option<InetResponse>> {
        self.send(request)?;
        for message in self.receive()? {
            match message {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    return Ok(Some(*response));
                }
                NetlinkPayload::Error(error) => {
                    let code = error.code.map(|code| -code.get());
                    // ESTALE: the socket there has another cookie.
                    if matches!(code, Some(libc::ENOENT | libc::ESTALE)) {
                        return Ok(None);
                    }
                    return Err(error.to_io());
                }
                _ => {}
            }
        }
        Err(io::Error::other("the kernel did not say whether the socket is there"))
    }

    /// Ends the socket that a request names; false if it was gone already.
    fn destroy(&mut self, mut bytes: Vec<u8>) -> io::Result<bool> {
        // The crate knows the request by its other number alone. Netlink is host byte order.
        bytes[4..6].copy_from_slice(&SOCK_DESTROY.to_ne_bytes());
        self.send(&bytes)?;
        for message in self.receive()? {
            if let NetlinkPayload::Error(error) = message {
                return match error.code {
                    None => Ok(true),
                    Some(code) if matches!(-code.get(), libc::ENOENT | libc::ESTALE) => Ok(false),
                    Some(_) => Err(error.to_io()),
                };
            }
        }
        Err(io::Error::other("the kernel did not say whether it ended the socket"))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<Vec<NetlinkPayload<SockDiagMessage>>> {
        self.buffer.clear();
        let (bytes, _) = self.socket.recv_from_full()?;
        self.buffer = bytes;
        let mut messages = Vec::new();
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // Messages begin at multiples of 4 bytes.
            let length = (message.header.length as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[length.max(1)..];
            messages.push(message.payload);
        }
        Ok(messages)
    }
}

fn request(family: u8, protocol: u8, socket_id: SocketId, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let request = InetRequest {
        family,
        protocol,
        extensions: if protocol == IPPROTO_TCP {
            ExtensionFlags::INFO
        } else {
            ExtensionFlags::empty()
        },
        states: StateFlags::ESTABLISHED,
        socket_id,
    };
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::from(SockDiagMessage::InetRequest(request)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::{fs, net::UdpSocket, time::Duration};

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::node::netns;

    /// The cookie of the socket that is bound to a port.
    fn cookie(socket: &UdpSocket) -> u64 {
        let port = socket.local_addr().unwrap().port();
        let mut netlink = Netlink::open().unwrap();
        let found = [AF_INET, AF_INET6].map(|family| netlink.connected(family).unwrap()).concat();
        let own = found.into_iter().find(|id| id.source_port == port).unwrap();
        u64::from_ne_bytes(own.cookie)
    }

    /// Needs root.
    #[test]
    fn a_kernel_that_ends_sockets_says_so() {
        assert!(can_end().unwrap());
    }

    /// In a network namespace of its own. Needs root.
    #[test]
    fn only_the_named_socket_is_ended() {
        let namespace = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            fs::File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = namespace.join().unwrap();
        netns::within(&namespace, || {
            assert!(
                std::process::Command::new("ip")
                    .args(["link", "set", "lo", "up"])
                    .status()?
                    .success()
            );
            for (local, peer) in [
                ("127.0.0.1:0", "127.0.0.1:5353"),
                ("[::]:0", "[::1]:5353"),
                ("[::]:0", "[::ffff:127.0.0.1]:5353"),
            ] {
                let sockets: Vec<_> = (0..2).map(|_| UdpSocket::bind(local).unwrap()).collect();
                for socket in &sockets {
                    socket.connect(peer)?;
                    socket.set_read_timeout(Some(Duration::from_millis(10)))?;
                }
                let doomed = cookie(&sockets[0]);
                let peer = peer.parse::<SocketAddr>().unwrap();
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let elsewhere = [(doomed, "192.0.2.1:5353".parse().unwrap())];
                assert_eq!(end_udp(&elsewhere.into())?, BTreeSet::new(), "{peer}");
                let wanted = [(doomed, peer), (u64::MAX, peer)].into();
                assert_eq!(end_udp(&wanted)?, [doomed].into(), "{peer}");
                let told = sockets[0].recv(&mut [0; 8]).unwrap_err();
                assert_eq!(told.raw_os_error(), Some(libc::ECONNABORTED));
                let told = sockets[1].recv(&mut [0; 8]).unwrap_err();
                assert_eq!(told.kind(), io::ErrorKind::WouldBlock);
                assert_eq!(end_udp(&wanted)?, BTreeSet::new(), "it is connected no more");
            }
            Ok(())
        })
        .unwrap();
    }
}
