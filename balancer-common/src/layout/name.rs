//! What the numbers in the maps mean.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest label of Kubernetes (RFC 1123), with room for a terminating zero.
pub const LABEL: usize = 64;

/// Value of the map of names, by index into the map of Services. Written and read by the agent
/// only; it lets a new agent, or the command line without one, tell what the maps hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ServiceName {
    /// Namespace, zero-terminated.
    pub namespace: [u8; LABEL],
    /// Name of the Service, zero-terminated.
    pub name: [u8; LABEL],
    /// Name of the port, zero-terminated, empty where the port has none.
    pub port_name: [u8; LABEL],
    /// `spec.ports[].port`, host byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// IP version of its frontends and backends: 4 or 6.
    pub family: u8,
    /// Which of its frontends: 0 the ClusterIP and all that has the same endpoints; 1 external addresses
    /// where internalTrafficPolicy is Local; where externalTrafficPolicy is Local, 2 node ports of nodes
    /// without endpoints, 3 those of one other node, and 4 connections from outside.
    pub scope: u8,
    /// Always 0.
    pub zero: [u8; 3],
    /// The address of the other node, as in [`super::Backend::addr`]; else zero.
    pub node: [u32; 4],
}

const _: () = {
    assert!(size_of::<ServiceName>() == 216);
};
