//! Keys, values and capacities of the maps.
//!
//! Every type is `repr(C)`, holds plain integers only, and derives [`IntoBytes`], which refuses
//! implicit padding at compile time. Addresses and ports are in network byte order, exactly as the
//! kernel hands them to the hooks, so that the hot path converts nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of everything in this file. It is part of the path the maps are pinned under, so that
/// an agent never adopts maps that it would misread.
pub const LAYOUT_VERSION: u32 = 2;

/// Elements of the counter slab, and the bound of a backend identifier. A power of two: the
/// programs mask with it, which is what lets the verifier accept the access.
pub const MAX_BACKENDS: u32 = 1 << 18;
/// Words of the slot slab that rows may start in. A power of two, for the same reason.
pub const MAX_SLOTS: u32 = 1 << 19;
/// Longest row that is scanned whole. Longer rows are sampled.
pub const MAX_SCAN: u32 = 1024;
/// Rows are read this many slots at a time and padded to a multiple of it.
pub const ROW_STEP: u32 = 8;
/// Words of the slot slab: a row that starts in the last allowed word is still readable whole.
pub const SLOT_WORDS: usize = (MAX_SLOTS + MAX_SCAN) as usize;
/// Entries of the map of Services (one per Service port).
pub const MAX_SERVICES: u32 = 1 << 17;
/// Entries of each map of frontends.
pub const MAX_FRONTENDS: u32 = 1 << 18;

/// The backend that pads rows. Its counter stays at [`PAD_ACTIVE`], so it never wins.
pub const PAD_BACKEND: u32 = 0;
/// Counter of [`PAD_BACKEND`].
pub const PAD_ACTIVE: u32 = u32::MAX;

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

/// Key of the map of IPv4 frontends: what a client passes to `connect()`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FrontendKey4 {
    /// Address, network byte order.
    pub addr: u32,
    /// Port, network byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Always 0.
    pub zero: u8,
}

/// Key of the map of IPv6 frontends. `::ffff:a.b.c.d` is never among them: whatever the family of
/// the socket that dials it, it is an address of the map of IPv4 frontends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FrontendKey6 {
    /// Address, network byte order.
    pub addr: [u32; 4],
    /// Port, network byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Always 0.
    pub zero: u8,
}

/// Value of the maps of frontends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Frontend {
    /// Index into the map of Services.
    pub service: u32,
    /// A [`FrontendKind`], which only the agent reads, and [`RESTRICTED`].
    pub kind: u32,
}

/// Set in [`Frontend::kind`] where only some clients may use the address
/// (`spec.loadBalancerSourceRanges`).
pub const RESTRICTED: u32 = 1 << 8;

/// Why an address is captured. Stored as [`Frontend::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum FrontendKind {
    /// An address of `spec.clusterIPs`.
    ClusterIp = 1,
    /// A node address with a node port.
    NodePort = 2,
    /// An address of `spec.externalIPs`.
    ExternalIp = 3,
    /// An address of `status.loadBalancer.ingress`.
    LoadBalancer = 4,
}

impl FrontendKind {
    /// Reads [`Frontend::kind`] back.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw & !RESTRICTED {
            1 => Some(Self::ClusterIp),
            2 => Some(Self::NodePort),
            3 => Some(Self::ExternalIp),
            4 => Some(Self::LoadBalancer),
            _ => None,
        }
    }
}

/// Value of the map of Services: one Service port of one family, so that no frontend leads to a
/// backend that its clients' sockets can't reach.
///
/// `row` is replaced by one aligned 8-byte store, so that a program sees either the old set of
/// backends or the new one. The other words say how one of them is chosen; each stands for itself.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Service {
    /// A [`Row`], packed, with its generation.
    pub row: u64,
    /// A [`crate::policy::Policy`].
    pub policy: u32,
    /// Seconds for which a client stays with its backend; 0 without session affinity.
    pub affinity: u32,
    /// Seconds over which a new backend comes to its full share; 0 for at once.
    pub slow_start: u32,
    /// The Service whose memory of clients this one shares; its own identifier, or that of another
    /// row of the same Service port.
    pub group: u32,
    /// What round-robin counts.
    pub cursor: u32,
    /// Always 0.
    pub zero: u32,
}

/// Where the backends of a Service port stand in the slot slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    /// First slot.
    pub base: u32,
    /// Number of backends; 0 means that the Service has no usable endpoint: the row is
    /// [`Row::EMPTY`] or [`Row::NOT_LOCAL`].
    pub len: u32,
}

impl Row {
    /// No usable endpoint anywhere.
    pub const EMPTY: Self = Self { base: 0, len: 0 };
    /// No usable endpoint on this node, where internalTrafficPolicy is Local. An empty row has no
    /// slots, so that its base is free to tell the two apart, in the same store.
    pub const NOT_LOCAL: Self = Self { base: 1, len: 0 };

    const BITS: u32 = 20;
    const MASK: u64 = (1 << Self::BITS) - 1;

    /// The word of [`Service::row`]. The generation tells two rows apart that lie in the same
    /// place one after the other, so that whoever remembers the word knows that the set of
    /// backends is still the same; it has 24 bits.
    #[inline(always)]
    pub const fn pack(self, generation: u32) -> u64 {
        (generation as u64) << (2 * Self::BITS)
            | (self.base as u64 & Self::MASK) << Self::BITS
            | self.len as u64 & Self::MASK
    }

    /// The inverse of [`Row::pack`], but for the generation.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { base: (word >> Self::BITS & Self::MASK) as u32, len: (word & Self::MASK) as u32 }
    }

    /// The generation in a word.
    pub const fn generation(word: u64) -> u32 {
        (word >> (2 * Self::BITS)) as u32
    }

    /// Slots that a row of `len` backends occupies, padding included.
    pub const fn width(len: u32) -> u32 {
        len.div_ceil(ROW_STEP) * ROW_STEP
    }
}

/// One word of the slot slab: a backend of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index into the counters and the map of backends, below [`MAX_BACKENDS`].
    pub backend: u32,
    /// Its share beside that of others, at most [`crate::policy::MAX_WEIGHT`]. Only the weighted
    /// choice reads it.
    pub weight: u16,
    /// A random number drawn when the row was written; breaks ties ([`crate::choice::salt`]).
    pub salt: u32,
}

impl Slot {
    /// What rows are padded with.
    pub const PAD: Self = Self { backend: PAD_BACKEND, weight: 1, salt: 0 };

    const BACKEND_BITS: u32 = MAX_BACKENDS.trailing_zeros();

    /// The word in the slab.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        let high = (self.weight as u32) << Self::BACKEND_BITS | self.backend & (MAX_BACKENDS - 1);
        (high as u64) << 32 | self.salt as u64
    }

    /// The inverse of [`Slot::pack`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        let high = (word >> 32) as u32;
        Self {
            backend: high & (MAX_BACKENDS - 1),
            weight: (high >> Self::BACKEND_BITS) as u16,
            salt: word as u32,
        }
    }
}

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
    /// Always 0.
    pub zero: u32,
    /// Connections ever charged to it.
    pub opened: u64,
    /// Connections that were refused or timed out.
    pub failed: u64,
    /// Always 0: fills the cache line.
    pub reserved: [u64; 3],
}

/// Value of the map of records: what is known of the socket whose charge has the same index.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Record {
    /// The address the client dialled, as in [`Backend::addr`].
    pub addr: [u32; 4],
    /// The port the client dialled, network byte order.
    pub port: u16,
    /// A [`RecordState`].
    pub state: u16,
    /// Index into the map of Services.
    pub service: u32,
    /// Cookie of the network namespace of a UDP socket; 0 for TCP.
    pub netns: u64,
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

/// Key of the maps of flows and of replies: one peer of one UDP socket that is not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PeerKey {
    /// Cookie of the socket.
    pub cookie: u64,
    /// Address of the peer, as in [`Backend::addr`].
    pub addr: [u32; 4],
    /// Port of the peer, network byte order.
    pub port: u16,
    /// Always 0.
    pub zero: [u16; 3],
}

/// Value of the map of flows: where the datagrams of a socket to a Service go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Flow {
    /// [`Service::row`] when the backend was chosen or last found among the usable ones.
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
    /// Address of the Service, as in [`Backend::addr`].
    pub addr: [u32; 4],
    /// Its port, network byte order.
    pub port: u16,
    /// Always 0.
    pub zero: u16,
}

/// Key of the map of session affinity: a client pod and a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ClientKey {
    /// Cookie of the client's network namespace.
    pub netns: u64,
    /// [`Service::group`].
    pub group: u32,
    /// Always 0.
    pub zero: u32,
}

/// Value of the map of session affinity, in one word, so that it changes at once: the backend, and
/// when it was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The backend.
    pub backend: u32,
    /// When it was last connected to, in ticks.
    pub used: u32,
}

impl Pin {
    /// The word.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.used as u64) << 32 | self.backend as u64
    }

    /// The inverse of [`Pin::pack`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { backend: word as u32, used: (word >> 32) as u32 }
    }
}

/// The one value of the map of controls.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Control {
    /// Bit `n` is set while a cgroup at level `n` below the root of the hierarchy is opted out.
    pub opted_out_levels: u32,
    /// Always 0.
    pub zero: u32,
}

/// Deepest level of a cgroup that can be opted out.
pub const MAX_LEVEL: u32 = 15;
/// Entries of the map of cgroups that are opted out.
pub const MAX_OPTED_OUT: u32 = 4096;
/// Entries of the map of clients: network namespaces whose addresses are known.
pub const MAX_CLIENTS: u32 = 8192;
/// Entries of the map of source ranges.
pub const MAX_RANGES: u32 = 1 << 16;
/// Entries of the map of session affinity; beyond, the client that was away longest is forgotten.
pub const MAX_PINS: u32 = 1 << 15;
/// Entries of the maps of flows and replies; beyond, the flow that was quiet longest is forgotten.
pub const MAX_FLOWS: u32 = 1 << 15;

/// Value of the map of clients: the addresses of a network namespace, zero where it has none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Client {
    /// IPv4, mapped as in [`Backend::addr`].
    pub ipv4: [u32; 4],
    /// IPv6.
    pub ipv6: [u32; 4],
}

/// Key of the map of source ranges, behind the length of its prefix in bits: which clients may use
/// the restricted addresses of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RangeKey {
    /// Index into the map of Services, big endian for the sake of the prefix.
    pub service: [u8; 4],
    /// Address, as in [`Backend::addr`].
    pub addr: [u32; 4],
}

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
    /// 1 for the row of external addresses where internalTrafficPolicy is Local, else 0.
    pub external: u8,
    /// Always 0.
    pub zero: [u8; 3],
}

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
    assert!(size_of::<FrontendKey4>() == 8);
    assert!(size_of::<FrontendKey6>() == 20);
    assert!(size_of::<Frontend>() == 8);
    assert!(size_of::<Service>() == 32);
    assert!(size_of::<PeerKey>() == 32 && size_of::<Flow>() == 16 && size_of::<Reply>() == 20);
    assert!(size_of::<ClientKey>() == 16 && size_of::<Client>() == 32);
    assert!(size_of::<RangeKey>() == 20);
    assert!(crate::policy::MAX_WEIGHT < 1 << (32 - Slot::BACKEND_BITS));
    assert!(MAX_SLOTS < 1 << Row::BITS);
    assert!(size_of::<Backend>() == 64);
    assert!(size_of::<Record>() == 32);
    assert!(size_of::<ServiceName>() == 200);
    assert!(MAX_BACKENDS.is_power_of_two() && MAX_SLOTS.is_power_of_two());
    assert!(MAX_SCAN.is_multiple_of(ROW_STEP));
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_slots_survive_packing() {
        let row = Row { base: MAX_SLOTS, len: MAX_SLOTS };
        assert_eq!(Row::unpack(row.pack(u32::MAX)), row);
        assert_eq!(Row::generation(row.pack(0xab_cdef)), 0xab_cdef);
        let slot = Slot { backend: MAX_BACKENDS - 1, weight: 1000, salt: u32::MAX };
        assert_eq!(Slot::unpack(slot.pack()), slot);
        let pin = Pin { backend: 77, used: u32::MAX };
        assert_eq!(Pin::unpack(pin.pack()), pin);
    }

    #[test]
    fn a_row_is_as_wide_as_its_padding() {
        assert_eq!([0, 1, 8, 9].map(Row::width), [0, 8, 8, 16]);
    }

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

    #[test]
    fn frontend_kinds_read_back() {
        for kind in [
            FrontendKind::ClusterIp,
            FrontendKind::NodePort,
            FrontendKind::ExternalIp,
            FrontendKind::LoadBalancer,
        ] {
            assert_eq!(FrontendKind::from_raw(kind as u32), Some(kind));
            assert_eq!(FrontendKind::from_raw(kind as u32 | RESTRICTED), Some(kind));
        }
        assert_eq!(FrontendKind::from_raw(0), None);
    }
}
