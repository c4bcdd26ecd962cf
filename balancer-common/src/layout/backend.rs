//! Backends, and the sockets that are charged to them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value of the map of backends: one (address, port, protocol), shared by every Service that
/// selects it. One cache line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(64))]
pub struct Backend {
    /// IPv6 address, or IPv4 as `::ffff:a.b.c.d`, in network byte order.
    pub addr: [u32; 4],
    /// Port, network byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 1 while the entry belongs to a backend.
    pub in_use: u8,
    /// How often it became suspect.
    pub suspected: u32,
    /// Connections ever charged to it.
    pub opened: u64,
    /// Connections that were refused or timed out.
    pub failed: u64,
    /// When it may be tried, in nanoseconds of CLOCK_MONOTONIC; 0 where it is not suspect
    /// ([`crate::suspect`]).
    pub suspect_until: u64,
    /// When its last failure was counted, in nanoseconds of CLOCK_MONOTONIC.
    pub failed_at: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Always 0: fills the cache line.
    pub zero: u32,
}

/// Value of the map of records: what is known of a charged socket, by
/// [`Charge::record`](crate::charge::Charge::record). One cache line. Of TCP the first half, save the
/// state, is written before `connect()` goes on, the second half as its SYN is about to be sent; of UDP
/// it is a [`UdpRecord`](super::UdpRecord).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(64))]
pub struct Record {
    /// The address the client dialled, as in [`Backend::addr`].
    pub addr: [u32; 4],
    /// The port the client dialled, network byte order.
    pub port: u16,
    /// A [`RecordState`].
    pub state: u16,
    /// Index into the map of Services.
    pub service: u32,
    /// Process that called `connect()`, as the first namespace of processes numbers it; 0 for UDP.
    pub tgid: u32,
    /// The port of the socket, network byte order; 0 for UDP, and before the SYN.
    pub local_port: u16,
    /// Always 0.
    pub zero: u16,
    /// The address of the socket, as in [`Backend::addr`]; 0 for UDP, and before the SYN.
    pub local_addr: [u32; 4],
    /// Cookie of the network namespace of the socket; 0 before the SYN.
    pub netns: u64,
    /// CLOCK_MONOTONIC in nanoseconds when the SYN was sent; 0 for UDP, and before.
    pub since: u64,
}

/// How far the socket of a charge has come. Stored as [`Record::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordState {
    /// TCP whose SYN was not sent. What stays so failed inside `connect()`, after the hook, or
    /// waits with its SYN for the first write (TCP_FASTOPEN_CONNECT).
    Waiting = 0,
    /// TCP whose SYN was sent, or connected UDP.
    Connected = 1,
    /// UDP that names the Service in every datagram.
    Unconnected = 2,
}

const _: () = {
    assert!(size_of::<Backend>() == 64);
    assert!(size_of::<Record>() == 64);
};
