//! One pod: a network namespace behind a veth pair and a cgroup.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
};

use super::Place;

/// A pod of a [`Node`](super::Node). It lives until the lab goes or
/// [`Node::remove_pod`](super::Node::remove_pod) is called.
#[derive(Clone, Debug)]
pub struct Pod {
    name: String,
    ip: Ipv4Addr,
    place: Place,
    /// The node's end of the veth pair.
    link: String,
}

impl Pod {
    pub(super) fn new(name: &str, ip: Ipv4Addr, place: Place, link: String) -> Self {
        Self { name: name.to_owned(), ip, place, link }
    }

    /// The pod's name, unique in its lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pod's IPv4 address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// The pod's IPv6 address: `fd00:10:244::/64` with the low half of the IPv4 address.
    pub fn ip6(&self) -> Ipv6Addr {
        ip6_of(self.ip)
    }

    /// The pod's IPv4 address with a port.
    pub fn socket(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// The pod's IPv6 address with a port.
    pub fn socket6(&self, port: u16) -> SocketAddr {
        (self.ip6(), port).into()
    }

    /// Where the pod's processes run.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A command that runs in the pod; see [`Place::command`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.place.command(program)
    }

    pub(super) fn link(&self) -> &str {
        &self.link
    }
}

/// The IPv6 address beside an IPv4 address of pods.
pub(super) fn ip6_of(ip: Ipv4Addr) -> Ipv6Addr {
    let [_, _, high, low] = ip.octets();
    Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, u16::from_be_bytes([high, low]))
}
