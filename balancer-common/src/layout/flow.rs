//! Datagrams of UDP sockets.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Record;

/// [`Record`] as it is for UDP sockets: the flow and the reply of the Service that the socket sent to
/// first, or is connected to. Written whole before the charge is published, and never again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(64))]
pub struct UdpRecord {
    /// The address the client dialled, as in [`super::Backend::addr`].
    pub addr: [u32; 4],
    /// The port the client dialled, network byte order.
    pub port: u16,
    /// A [`super::RecordState`].
    pub state: u16,
    /// Index into the map of Services.
    pub service: u32,
    /// Always 0, as no process stands where those of TCP have theirs.
    pub tgid: u32,
    /// Always 0.
    pub zero: u16,
    /// [`super::RESTRICTED`] where only some clients may use what was dialled, else 0.
    pub restricted: u16,
    /// [`super::Service::row`] when the backend was chosen or last found to serve.
    pub row: u64,
    /// Always 0.
    pub zeros: u64,
    /// Cookie of the network namespace of the socket.
    pub netns: u64,
    /// Always 0: no SYN was sent.
    pub since: u64,
}

/// Key of the map of what serves: a backend that new sockets do not go to, and a Service that it still
/// serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ServingKey {
    /// Index into the map of Services.
    pub service: u32,
    /// The backend.
    pub backend: u32,
}

/// Flows of a socket beside the one in its record: so many Services more can it speak to in
/// [`FLOW_IDLE`].
pub const MAX_FLOWS: u32 = 6;

/// For how long a flow that sends nothing keeps its place, in seconds: as conntrack keeps one of UDP.
pub const FLOW_IDLE: u32 = 120;

/// Value of the map of flows: those of one socket.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Flows {
    /// In no order.
    pub flows: [Flow; MAX_FLOWS as usize],
}

/// Where the datagrams of a socket to a Service go, and whose address its answers have. One cache line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Flow {
    /// Address of the Service, as in [`super::Backend::addr`].
    pub addr: [u32; 4],
    /// Address of the backend, likewise.
    pub from: [u32; 4],
    /// [`super::Service::row`] when the backend was chosen or last found to serve.
    pub row: u64,
    /// Port of the Service, network byte order.
    pub port: u16,
    /// Port of the backend, network byte order.
    pub from_port: u16,
    /// The backend.
    pub backend: u32,
    /// Index into the map of Services.
    pub service: u32,
    /// 0 where there is no flow; odd while the flow is written. Each writing makes it larger, so that
    /// who has read a flow knows that it was of one piece.
    pub version: u32,
    /// When it last sent, in ticks.
    pub used: u32,
    /// 1 while datagrams go this way; 0 where only answers are still to come.
    pub sends: u32,
}

const _: () = {
    assert!(size_of::<Flow>() == 64 && size_of::<Flows>() == 384);
    assert!(size_of::<UdpRecord>() == size_of::<Record>());
    assert!(offset_of!(UdpRecord, state) == offset_of!(Record, state));
    assert!(offset_of!(UdpRecord, service) == offset_of!(Record, service));
    assert!(offset_of!(UdpRecord, tgid) == offset_of!(Record, tgid));
    assert!(offset_of!(UdpRecord, netns) == offset_of!(Record, netns));
    assert!(offset_of!(UdpRecord, since) == offset_of!(Record, since));
};
