//! The devices that lead out of the node, in this thread's network namespace.

use std::{collections::BTreeSet, net::IpAddr};

use nix::net::if_::{if_indextoname, if_nametoindex};

use super::interfaces;

/// Names of these devices, which have a default route, and of those with one of these addresses; not the
/// loopback.
pub fn uplinks(routed: &BTreeSet<u32>, addresses: &[IpAddr]) -> BTreeSet<String> {
    let by_route = routed.iter().copied().filter_map(name);
    let has_one = |(name, ip): (String, IpAddr)| addresses.contains(&ip).then_some(name);
    let mut found: BTreeSet<String> =
        by_route.chain(interfaces::all().filter_map(has_one)).collect();
    found.remove("lo");
    found
}

/// The number of a device; none where it is gone.
pub fn index(name: &str) -> Option<u32> {
    if_nametoindex(name).ok()
}

/// The name of a device; none where it is gone.
pub fn name(index: u32) -> Option<String> {
    if_indextoname(index).ok()?.into_string().ok()
}
