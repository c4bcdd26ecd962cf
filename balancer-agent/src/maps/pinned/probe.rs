//! The one frontend that is no Service's: where the agent dials itself.

use std::net::SocketAddrV4;

use balancer_common::layout::{RESTRICTED, SELF_TEST};

use super::*;

/// The entry of the self-test.
pub struct Probe {
    frontends: Table<Key4, Value>,
}

impl Probe {
    /// Opens the map.
    pub fn open(pins: &Pins) -> Result<Self, MapsError> {
        Ok(Self { frontends: Table::open(pins, "FRONTENDS4")?.0 })
    }

    /// Leads sockets of UDP that dial `from` to a port of 127.0.0.1.
    pub fn lead(&mut self, from: SocketAddrV4, port: u16) -> Result<(), MapsError> {
        let key = FrontendKey4 {
            addr: u32::from_ne_bytes(from.ip().octets()),
            port: from.port().to_be(),
            protocol: balancer_common::layout::UDP,
            zero: 0,
        };
        let value = Frontend { service: u32::from(port.to_be()), kind: RESTRICTED | SELF_TEST };
        self.frontends.put(transmute!(key), transmute!(value))
    }
}
