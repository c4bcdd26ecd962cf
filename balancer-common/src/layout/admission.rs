//! Whose sockets are balanced.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The one value of the map of controls.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Control {
    /// Bit `n` is set while a cgroup at level `n` below the root of the hierarchy is opted out.
    pub opted_out_levels: u32,
    /// Backends of the node that are suspect ([`crate::suspect`]), counted by whoever begins and ends
    /// it: for moments it may be one too few, below 0 even.
    pub suspects: u32,
}

/// Value of the map of clients: the addresses of a network namespace, zero where it has none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Client {
    /// IPv4, mapped as in [`super::Backend::addr`].
    pub ipv4: [u32; 4],
    /// IPv6.
    pub ipv6: [u32; 4],
}

/// Key of the map of source ranges, behind the length of its prefix in bits: which clients may use
/// the restricted addresses of a Service.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RangeKey {
    /// Index into the map of Services, big endian for the sake of the prefix.
    pub service: [u8; 4],
    /// Address, as in [`super::Backend::addr`].
    pub addr: [u32; 4],
}

const _: () = {
    assert!(size_of::<Control>() == 8);
    assert!(size_of::<Client>() == 32 && size_of::<RangeKey>() == 20);
};
