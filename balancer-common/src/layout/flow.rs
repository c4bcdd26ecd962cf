//! Datagrams of UDP sockets that are not connected.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of the maps of flows and of replies: one peer of one UDP socket that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PeerKey {
    /// Cookie of the socket.
    pub cookie: u64,
    /// Address of the peer, as in [`super::Backend::addr`].
    pub addr: [u32; 4],
    /// Port of the peer, network byte order, in the two lowest bytes. All of a word: bytes that
    /// are to be 0 are set in a loop otherwise, byte by byte, for each datagram.
    pub port: u64,
}

/// Value of the map of flows: where the datagrams of a socket to a Service go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flow {
    /// [`super::Service::row`] when the backend was chosen or last found among the usable ones.
    pub row: u64,
    /// The backend.
    pub backend: u32,
    /// Index into the map of Services.
    pub service: u32,
}

/// Value of the map of replies: the Service that a backend's datagrams seem to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Reply {
    /// Address of the Service, as in [`super::Backend::addr`].
    pub addr: [u32; 4],
    /// Its port, network byte order.
    pub port: u16,
    /// Always 0.
    pub zero: u16,
}

const _: () = {
    assert!(size_of::<PeerKey>() == 32 && size_of::<Flow>() == 16 && size_of::<Reply>() == 20);
};
