//! Connected UDP sockets of other processes. The kernel lists them all, and ends one that it is told
//! the addresses of.

use std::{io, net::SocketAddr};

use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_UDP,
    inet::{InetResponse, SocketId},
};
use serde::{Deserialize, Serialize};

use super::{NLM_F_ACK, NLM_F_DUMP, request, tcp::Connections};

/// A connected UDP socket, as the kernel tells it from all others. IPv4 within IPv6 stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Its cookie.
    pub cookie: u64,
    /// Its own side.
    pub local: SocketAddr,
    /// The other one.
    pub remote: SocketAddr,
    /// The interface that it is bound to; 0 for none.
    pub interface: u32,
}

impl Socket {
    fn new(id: &SocketId) -> Self {
        Self {
            cookie: u64::from_ne_bytes(id.cookie),
            local: (id.source_address, id.source_port).into(),
            remote: (id.destination_address, id.destination_port).into(),
            interface: id.interface_id,
        }
    }

    fn id(&self) -> SocketId {
        SocketId {
            source_port: self.local.port(),
            destination_port: self.remote.port(),
            source_address: self.local.ip(),
            destination_address: self.remote.ip(),
            interface_id: self.interface,
            cookie: self.cookie.to_ne_bytes(),
        }
    }

    const fn family(&self) -> u8 {
        if self.local.is_ipv4() { AF_INET } else { AF_INET6 }
    }

    /// To whom it is connected; IPv4 is IPv4 here.
    pub fn peer(&self) -> SocketAddr {
        (self.remote.ip().to_canonical(), self.remote.port()).into()
    }
}

impl Connections {
    /// All connected UDP sockets. `each` is called for every one, `alive` for every part of the list.
    pub fn list_udp(&mut self, mut each: impl FnMut(Socket), alive: impl Fn()) -> io::Result<()> {
        for family in [AF_INET, AF_INET6] {
            let any = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
            let request = request(family, IPPROTO_UDP, any, NLM_F_DUMP);
            let found = |response: InetResponse| each(Socket::new(&response.header.socket_id));
            self.netlink.dump(&request, found, &alive)?;
        }
        Ok(())
    }

    /// Ends a UDP socket; false if it was gone already.
    pub fn end_udp(&mut self, socket: &Socket) -> io::Result<bool> {
        self.netlink.destroy(request(socket.family(), IPPROTO_UDP, socket.id(), NLM_F_ACK))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap, fs::File, net::UdpSocket, process::Command, thread, time::Duration,
    };

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::node::netns;

    fn listed(connections: &mut Connections) -> BTreeMap<u16, Socket> {
        let mut listed = BTreeMap::new();
        let by_port = |socket: Socket| {
            listed.insert(socket.local.port(), socket);
        };
        connections.list_udp(by_port, || {}).unwrap();
        listed
    }

    /// In a network namespace of its own. Needs root.
    #[test]
    fn only_the_named_socket_is_ended() {
        let namespace = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = namespace.join().unwrap();
        let (_, mut connections) = Connections::of(&namespace).unwrap();
        for (local, peer) in [
            ("127.0.0.1:0", "127.0.0.1:5353"),
            ("[::]:0", "[::1]:5353"),
            ("[::]:0", "[::ffff:127.0.0.1]:5353"),
        ] {
            let sockets: Vec<_> = netns::within(&namespace, || {
                let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
                assert!(up.success());
                let open = || -> io::Result<UdpSocket> {
                    let socket = UdpSocket::bind(local)?;
                    socket.connect(peer)?;
                    socket.set_read_timeout(Some(Duration::from_millis(10)))?;
                    Ok(socket)
                };
                (0..2).map(|_| open()).collect()
            })
            .unwrap();
            let all = listed(&mut connections);
            let doomed = all[&sockets[0].local_addr().unwrap().port()];
            let peer = peer.parse::<SocketAddr>().unwrap();
            assert_eq!(doomed.peer().ip(), peer.ip().to_canonical());
            let other = Socket { cookie: doomed.cookie + 1_000, ..doomed };
            assert!(!connections.end_udp(&other).unwrap(), "{peer}");
            assert!(connections.end_udp(&doomed).unwrap(), "{peer}");
            let told = sockets[0].recv(&mut [0; 8]).unwrap_err();
            assert_eq!(told.raw_os_error(), Some(libc::ECONNABORTED));
            let told = sockets[1].recv(&mut [0; 8]).unwrap_err();
            assert_eq!(told.kind(), io::ErrorKind::WouldBlock);
            assert_eq!(listed(&mut connections).len(), 1, "it is connected no more");
        }
    }
}
