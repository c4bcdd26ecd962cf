//! What the worker and whoever started it tell each other, a line of JSON each.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use super::{
    life::{Family, Target, Transport},
    model::Claim,
};

/// What a worker is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Order {
    /// To carry out so many operations; it answers with a [`Report`].
    Operations(usize),
    /// To say what was done last to a socket; it answers with a list of sentences, or with nothing
    /// where it doesn't have it.
    Past(u64),
}

/// What a worker says once it holds still: what it did since the last time, and what it has open.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Operations carried out.
    pub operations: u64,
    /// Connections to Services made or begun, UDP sockets connected to one included.
    pub connections: u64,
    /// Datagrams that were answered,
    pub answers: u64,
    /// and that were not: they may be lost.
    pub unanswered: u64,
    /// What should not have happened.
    pub surprises: Vec<String>,
    /// Every socket that a process still has open.
    pub sockets: Vec<Told>,
}

impl Report {
    /// The sockets by their cookies.
    pub fn claims(&self) -> Claims {
        self.sockets.iter().map(|told| (told.cookie, *told)).collect()
    }
}

/// What a worker says of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The kernel's number for it.
    pub cookie: u64,
    /// What must be charged.
    pub claim: Claim,
    /// Milliseconds since that is so.
    pub age_ms: u64,
}

/// The address of a target: backend 1's own for [`Target::Direct`], else a ClusterIP.
pub fn address(target: Target, transport: Transport, family: Family) -> SocketAddr {
    let number = target as u8 + 1;
    let (subnet, port) = match transport {
        Transport::Tcp => (1, 80),
        Transport::Udp => (2, 53),
    };
    let (v4, v6, port) = if target == Target::Direct {
        (backend(1), backend6(1), target_port(Target::Keep, transport))
    } else {
        let v6 = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, subnet.into(), number.into());
        (Ipv4Addr::new(10, 96, subnet, number), v6, port)
    };
    let ip = match family {
        Family::V4 => IpAddr::V4(v4),
        Family::V6 => IpAddr::V6(v6),
        Family::Mapped => IpAddr::V6(v4.to_ipv6_mapped()),
    };
    (ip, port).into()
}

/// The port of the backends of a Service.
pub const fn target_port(target: Target, transport: Transport) -> u16 {
    match (transport, target) {
        (Transport::Udp, Target::Answer) => 5454,
        (Transport::Udp, Target::Echo) => 5455,
        (Transport::Udp, _) => 5353,
        (_, Target::Close) => 8081,
        (_, Target::Reset) => 8082,
        (_, Target::Refuse) => 9,
        (_, Target::One) => 8083,
        _ => 8080,
    }
}

/// The address of a backend, numbered from 1.
pub const fn backend(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, number)
}

/// Its IPv6 address, as the lab makes it of the other.
pub const fn backend6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, number as u16)
}

/// All claims, by the socket.
pub type Claims = BTreeMap<u64, Told>;
