//! TCP connections of other processes: asked about one by one. A dump would walk the table of all
//! connections of the machine for each network namespace.

use std::{fs::File, io, net::SocketAddr};

use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP,
    inet::{SocketId, nlas::Nla},
};
use serde::{Deserialize, Serialize};

use super::{NLM_F_ACK, Netlink, request};
use crate::node::{netns, tcp_info::Activity};

/// A connection, as the kernel tells it from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// The client's side.
    pub local: SocketAddr,
    /// The server's side.
    pub remote: SocketAddr,
    /// Cookie of the client's socket.
    pub cookie: u64,
}

/// What is known of a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its inode, by which descriptors of it are known; 0 where no process has one.
    pub inode: u32,
    /// What it does.
    pub activity: Activity,
}

/// The connections of one network namespace.
#[derive(Debug)]
pub struct Connections {
    pub(super) netlink: Netlink,
}

impl Connections {
    /// Those of a network namespace, given as its file in `/proc/PID/ns`. Says which that is.
    pub fn of(namespace: &File) -> io::Result<(u64, Self)> {
        let netlink = netns::within(namespace, Netlink::open)?;
        Ok((netns::cookie(&netlink.socket)?, Self { netlink }))
    }

    /// Asks about a connection; none if it is gone.
    pub fn ask(&mut self, connection: &Tuple) -> io::Result<Option<Found>> {
        let (family, id) = named(connection);
        let Some(answer) = self.netlink.get(&request(family, IPPROTO_TCP, id, 0))? else {
            return Ok(None);
        };
        let info = answer.nlas.iter().find_map(|nla| match nla {
            Nla::TcpInfo(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        // Without: it waits for nothing but the end of its quarantine.
        let Some(info) = info else { return Ok(None) };
        let header = &answer.header;
        let activity = Activity::read(info, header.recv_queue, header.send_queue);
        Ok(activity.map(|activity| Found { inode: header.inode, activity }))
    }

    /// Resets a connection; false if it was gone already.
    pub fn reset(&mut self, connection: &Tuple) -> io::Result<bool> {
        let (family, id) = named(connection);
        self.netlink.destroy(request(family, IPPROTO_TCP, id, NLM_F_ACK))
    }
}

/// IPv4 within IPv6 is asked for as IPv4: the kernel keeps both in one place.
fn named(connection: &Tuple) -> (u8, SocketId) {
    let family = if connection.local.is_ipv4() { AF_INET } else { AF_INET6 };
    let id = SocketId {
        source_port: connection.local.port(),
        destination_port: connection.remote.port(),
        source_address: connection.local.ip(),
        destination_address: connection.remote.ip(),
        interface_id: 0,
        cookie: connection.cookie.to_ne_bytes(),
    };
    (family, id)
}
