//! Whose sockets are balanced.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The one value of the map of controls.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Control {
    /// Bit `n` is set while a cgroup at level `n` below the root of the hierarchy is opted out;
    /// beside these [`TRACED`].
    pub opted_out_levels: u32,
    /// Backends of the node that are suspect ([`crate::suspect`]), counted by whoever begins and ends
    /// it: for moments it may be one too few, below 0 even.
    pub suspects: u32,
}

/// Set in [`Control::opted_out_levels`], whose other bits of that half no level has, while somebody
/// reads what programs tell ([`super::Trace`]): what is read anyway says so.
pub const TRACED: u32 = 1 << 31;

impl Control {
    /// The bits of levels alone.
    #[inline(always)]
    pub const fn levels(self) -> u32 {
        self.opted_out_levels & !TRACED
    }

    /// True while somebody reads what programs tell.
    #[inline(always)]
    pub const fn is_traced(self) -> bool {
        self.opted_out_levels & TRACED != 0
    }
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
    assert!(size_of::<Control>() == 8 && TRACED > 1 << super::MAX_LEVEL);
    assert!(size_of::<Client>() == 32 && size_of::<RangeKey>() == 20);
};
