//! Connections from outside of the node, and how they are handed to the kernel's NAT.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of the map of connections from outside: addresses and ports as the client has them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct OutsideKey {
    /// Address of the client, as [`super::Backend::addr`].
    pub client: [u32; 4],
    /// Address that it dialled.
    pub service: [u32; 4],
    /// Port of the client, network byte order.
    pub client_port: u16,
    /// Port that it dialled, network byte order.
    pub service_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Always 0.
    pub zero: [u8; 3],
}

/// Value of the map of connections from outside. The entry is the charge of its connection: whoever
/// removes it lowers the counter of its backend, and only one can.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct OutsideFlow {
    /// When its first packet came, CLOCK_MONOTONIC in nanoseconds; over UDP the last one, to a second.
    pub since: u64,
    /// Its backend.
    pub backend: u32,
    /// Sequence number of the SYN, host byte order; 0 over UDP.
    pub sequence: u32,
    /// [`CLIENT_ENDED`], [`SERVER_ENDED`] and [`ENDING`].
    pub ended: u32,
    /// Always 0.
    pub zero: u32,
}

/// Set in [`OutsideFlow::ended`] once the client has sent a FIN.
pub const CLIENT_ENDED: u32 = 1;
/// Set in [`OutsideFlow::ended`] once the server has sent one.
pub const SERVER_ENDED: u32 = 2;

/// Set in [`OutsideFlow::ended`] by the one program that is about to remove the entry: no other removes it,
/// and none takes it over for another connection with the same ports, whose backend may be another.
pub const ENDING: u32 = 4;

/// Entries of the map of connections from outside. Connections beyond are balanced and not counted.
pub const MAX_OUTSIDE: u32 = 1 << 17;

/// What the priority of a packet begins with that is to be sent to a backend: the rest is the
/// identifier of the backend. Rules of nf_tables read it and set it to 0.
pub const TO_BACKEND: u32 = 0xba00_0000;
/// Which bits of a priority are [`TO_BACKEND`].
pub const TO_BACKEND_MASK: u32 = 0xff00_0000;
/// The priority of a packet that is to be rejected.
pub const REJECT: u32 = 0xbaff_ffff;
/// Set in the mark of a packet that is to have an address of the node as its source: the bit of
/// kube-proxy, which network plugins leave alone for its sake.
pub const MASQUERADE: u32 = 0x4000;

const _: () = {
    assert!(size_of::<OutsideKey>() == 40 && size_of::<OutsideFlow>() == 24);
    assert!(super::MAX_BACKENDS < REJECT & !TO_BACKEND_MASK);
};
