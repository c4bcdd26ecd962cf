//! Keys, values and capacities of the maps.
//!
//! Every type is `repr(C)`, holds plain integers only, and derives [`zerocopy::IntoBytes`], which refuses
//! implicit padding at compile time. Addresses and ports are in network byte order, exactly as the
//! kernel hands them to the hooks, so that the hot path converts nothing.

mod admission;
mod affinity;
mod backend;
mod flow;
mod frontend;
mod level;
mod lifetime;
mod name;
mod outside;
mod row;
mod seat;
mod trace;

pub use self::{
    admission::*, affinity::*, backend::*, flow::*, frontend::*, level::*, lifetime::*, name::*,
    outside::*, row::*, seat::*, trace::*,
};

/// Version of everything in this module. It is part of the path the maps are pinned under, so that
/// an agent never adopts maps that it would misread.
pub const LAYOUT_VERSION: u32 = 9;

/// Elements of the counter slab, and the bound of a backend identifier. A power of two: the
/// programs mask with it, which is what lets the verifier accept the access.
pub const MAX_BACKENDS: u32 = 1 << 18;
/// Words of the slot slab that rows may start in. A power of two, for the same reason.
pub const MAX_SLOTS: u32 = 1 << 19;
/// Longest row that is scanned whole. Longer rows are sampled.
pub const MAX_SCAN: u32 = 1024;
/// Rows are padded to a multiple of this many slots, which is how many a scan compares at a time.
pub const ROW_STEP: u32 = 4;
/// Words of the slot slab: a row that starts in the last allowed word is still readable whole.
pub const SLOT_WORDS: usize = (MAX_SLOTS + MAX_SCAN) as usize;
/// Entries of the map of Services (one per Service port).
pub const MAX_SERVICES: u32 = 1 << 17;
/// Entries of each map of frontends for one of [`MAX_SERVICES`]: a ClusterIP, and another address.
pub const FRONTENDS_PER_SERVICE: u32 = 2;
/// Entries of each map of frontends.
pub const MAX_FRONTENDS: u32 = FRONTENDS_PER_SERVICE * MAX_SERVICES;

/// The backend that pads rows. Its counter stays at [`PAD_ACTIVE`], so it never wins.
pub const PAD_BACKEND: u32 = 0;
/// Counter of [`PAD_BACKEND`]: above those of suspect backends, and still below 2 to the power of 31, so
/// that the smaller of two keys is found by the sign of their difference.
pub const PAD_ACTIVE: u32 = u32::MAX >> 1;

/// IPPROTO_TCP.
pub const TCP: u8 = 6;
/// IPPROTO_UDP.
pub const UDP: u8 = 17;

/// Time in the maps is CLOCK_MONOTONIC in ticks of 2 to the power of this many nanoseconds, 67 ms:
/// 32 bits of them are nine years.
pub const TICK_SHIFT: u32 = 26;
/// Ticks of a number of seconds.
pub const fn ticks(seconds: u32) -> u32 {
    ((seconds as u64 * 1_000_000_000) >> TICK_SHIFT) as u32
}
/// Deepest level of a cgroup that can be opted out.
pub const MAX_LEVEL: u32 = 15;
/// Entries of the map of cgroups that are opted out.
pub const MAX_OPTED_OUT: u32 = 4096;
/// Entries of the map of clients: network namespaces whose addresses are known.
pub const MAX_CLIENTS: u32 = 8192;
/// Entries of the map of nodes: addresses of this node and of others.
pub const MAX_NODES: u32 = 1 << 15;
/// Entries of the map of source ranges.
pub const MAX_RANGES: u32 = 1 << 16;
/// Entries of the map of session affinity; beyond, the client that was away longest is forgotten.
pub const MAX_AFFINITY: u32 = 1 << 15;

/// Entries of the map of what serves though new sockets do not go there; beyond, flows are led elsewhere.
pub const MAX_SERVING: u32 = 1 << 16;

/// `::ffff:a.b.c.d` for an IPv4 address in network byte order.
#[inline(always)]
pub const fn mapped(addr: u32) -> [u32; 4] {
    [0, 0, 0xffff_u32.to_be(), addr]
}

/// True for what [`mapped`] makes.
#[inline(always)]
pub const fn is_mapped(words: [u32; 4]) -> bool {
    words[0] == 0 && words[1] == 0 && words[2] == 0xffff_u32.to_be()
}

const _: () = {
    assert!(MAX_BACKENDS.is_power_of_two() && MAX_SLOTS.is_power_of_two());
    assert!(MAX_SCAN.is_multiple_of(ROW_STEP));
};

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn only_ipv4_in_ipv6_is_mapped() {
        let ipv4 = u32::from_ne_bytes([10, 96, 0, 1]);
        assert_eq!(mapped(ipv4).as_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 96, 0, 1]);
        assert!(is_mapped(mapped(ipv4)) && is_mapped(mapped(0)));
        assert!(
            ![[0; 4], [0, 0, 0, ipv4], [1, 0, 0xffff_u32.to_be(), ipv4]]
                .map(is_mapped)
                .contains(&true)
        );
    }
}
