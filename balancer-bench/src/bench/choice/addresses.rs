//! The addresses of backends: all of them the same pod's.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Every address of IPv4.
pub(super) const ADDRESSES: &str = "10.245.0.0/16";
pub(super) const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 1);
/// Every address of IPv6.
pub(super) const ADDRESSES6: &str = "fd00:10:245::/64";
const FIRST_ADDRESS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x245, 0, 0, 0, 0, 1);

/// The first addresses of backends.
pub(super) fn addresses(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|n| Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + n))
}

/// The same over IPv6.
pub(super) fn addresses6(count: u32) -> impl Iterator<Item = Ipv6Addr> {
    (0..count).map(|n| Ipv6Addr::from_bits(FIRST_ADDRESS6.to_bits() + u128::from(n)))
}
