//! Policies, session affinity, IPv6 and UDP, with 16 backends each.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use balancer_lab::manifests::Service;
use serde_json::json;

use super::addresses::{addresses, addresses6};
use crate::bench::{
    BACKEND_PORT,
    job::SocketUse,
    programs::{CONNECT, CONNECT6, SENDMSG},
};

/// How many backends each has.
pub(super) const BACKENDS: u32 = 16;
const PORT: u16 = 80;

/// What its sockets are.
#[derive(Clone, Copy)]
pub(super) enum Road {
    /// TCP over IPv4.
    Tcp4,
    /// Something else.
    Other(SocketUse),
}

/// A way to a backend, through a Service of its own.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) road: Road,
    /// The program that chooses, by its place in [`PROGRAMS`].
    pub(super) program: usize,
    /// The last number of the Service's address.
    number: u8,
    policy: &'static str,
    slow_start: bool,
    affinity: bool,
}

const LEAST: &str = "least-connections";

/// What most of them are.
const fn policy(number: u8, policy: &'static str) -> Way {
    let road = Road::Tcp4;
    let (slow_start, affinity) = (false, false);
    Way { name: policy, road, program: CONNECT, number, policy, slow_start, affinity }
}

const fn other(number: u8, name: &'static str, program: usize, usage: SocketUse) -> Way {
    Way { name, road: Road::Other(usage), program, ..policy(number, LEAST) }
}

pub(super) const WAYS: [Way; 11] = [
    policy(1, LEAST),
    policy(2, "weighted-least-connections"),
    policy(3, "power-of-two"),
    policy(4, "round-robin"),
    policy(5, "random"),
    Way { name: "least-connections, slow start", slow_start: true, ..policy(6, LEAST) },
    Way { name: "session affinity", affinity: true, ..policy(7, LEAST) },
    other(8, "IPv6", CONNECT6, SocketUse::Tcp6),
    other(9, "UDP, connect()", CONNECT, SocketUse::UdpConnect),
    other(10, "UDP, first datagram of a socket", SENDMSG, SocketUse::UdpFirst),
    other(11, "UDP, further datagrams", SENDMSG, SocketUse::UdpFurther),
];

impl Way {
    /// Where clients dial, over IPv4.
    pub(super) const fn target4(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 97, 0, self.number), PORT)
    }

    const fn is_ipv6(&self) -> bool {
        matches!(self.road, Road::Other(SocketUse::Tcp6))
    }

    /// Where clients dial.
    pub(super) fn target(&self) -> SocketAddr {
        if !self.is_ipv6() {
            return self.target4().into();
        }
        let ip = Ipv6Addr::new(0xfd00, 0x10, 0x97, 0, 0, 0, 0, u16::from(self.number));
        (ip, PORT).into()
    }

    /// Its Service.
    pub(super) fn service(&self) -> Service {
        let (name, ip) = (format!("way-{}", self.number), self.target().ip());
        let service = if self.is_ipv6() {
            Service::new(&name, ip, PORT, BACKEND_PORT, addresses6(BACKENDS))
        } else {
            Service::new(&name, ip, PORT, BACKEND_PORT, addresses(BACKENDS))
        };
        let mut service = service.annotated("balancer-agent/policy", self.policy);
        if self.slow_start {
            service = service.annotated("balancer-agent/slow-start", "1h");
        }
        if self.affinity {
            service = service.with("sessionAffinity", json!("ClientIP"));
        }
        match self.road {
            Road::Tcp4 | Road::Other(SocketUse::Tcp6) => service,
            Road::Other(_) => service.udp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_way_has_a_service_of_its_own() {
        let targets: BTreeSet<SocketAddr> = WAYS.iter().map(Way::target).collect();
        assert_eq!(targets.len(), WAYS.len());
        let service = WAYS[8].service();
        assert_eq!((service.protocol, service.endpoints.len()), ("UDP", 16));
        assert_eq!(WAYS[7].service().endpoints[15].address, "fd00:10:245::10");
    }
}
