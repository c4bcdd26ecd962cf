//! Numbers and protocols of ports.

use super::object::Fault;
use crate::{model::Protocol, settings::quoted};

/// A usable node port.
pub fn node_port(field: &str, port: i32) -> Result<u16, Fault> {
    usable(port).ok_or_else(|| {
        Fault::new(
            format!("{field}.nodePort"),
            format!(
                "{port} is no port: there is no node port, the rest stands; write 1 to 65535, or \
                 leave the field out"
            ),
        )
    })
}

/// The port, if it is one.
pub fn usable(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// A usable port number.
pub fn number(field: &str, port: i32) -> Result<u16, Fault> {
    usable(port).ok_or_else(|| {
        Fault::new(
            format!("{field}.port"),
            format!("{port} is no port: this entry is left out, the rest stands; write 1 to 65535"),
        )
    })
}

/// A protocol; TCP where none is written.
pub fn protocol(field: &str, protocol: Option<&str>) -> Result<Protocol, Fault> {
    match protocol {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(Fault::new(
            format!("{field}.protocol"),
            format!(
                "{other} is no protocol: this entry is left out; write TCP, UDP or SCTP",
                other = quoted(other)
            ),
        )),
    }
}
