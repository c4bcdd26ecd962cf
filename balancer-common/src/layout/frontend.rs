//! What clients dial.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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
    /// A [`Place`].
    pub place: u8,
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
    /// A [`Place`].
    pub place: u8,
}

/// What [`FrontendKey4::addr`] and [`FrontendKey6::addr`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Place {
    /// The address that is dialled.
    Exact = 0,
    /// Zero: the entry is for every address of this node in the map of nodes.
    ThisNode = 1,
    /// Zero: the entry is for every address of another node in the map of nodes.
    OtherNode = 2,
}

impl Place {
    /// Reads [`FrontendKey4::place`] back.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Exact),
            1 => Some(Self::ThisNode),
            2 => Some(Self::OtherNode),
            _ => None,
        }
    }
}

/// Value of the map of nodes, by address (IPv4 as `::ffff:a.b.c.d`, network byte order): where node
/// ports are captured beside the addresses that have frontends of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NodeAddress {
    /// Cookie of the one network namespace in which the address is that of the node; 0 where it is in
    /// all of them.
    pub netns: u64,
    /// [`Place::ThisNode`] or [`Place::OtherNode`].
    pub place: u32,
    /// Always 0.
    pub zero: u32,
}

/// Value of the maps of frontends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Frontend {
    /// Index into the map of Services.
    pub service: u32,
    /// A [`FrontendKind`], with [`RESTRICTED`] and [`SELF_TEST`].
    pub kind: u32,
}

/// The bits of [`Frontend::kind`] that are a [`FrontendKind`].
pub const KIND: u32 = 0xff;

/// Set in [`Frontend::kind`] where only some clients may use the address
/// (`spec.loadBalancerSourceRanges`).
pub const RESTRICTED: u32 = 1 << 8;

/// Set in [`Frontend::kind`], with [`RESTRICTED`], where an address is no Service's but the agent's
/// own: [`Frontend::service`] is then a port of 127.0.0.1, in network byte order. Only programs that
/// found the other flag look at it.
pub const SELF_TEST: u32 = 1 << 9;

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
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::ClusterIp, Self::NodePort, Self::ExternalIp, Self::LoadBalancer];

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

const _: () = {
    assert!(size_of::<FrontendKey4>() == 8);
    assert!(size_of::<FrontendKey6>() == 20);
    assert!(size_of::<Frontend>() == 8 && size_of::<NodeAddress>() == 16);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back() {
        for place in [Place::Exact, Place::ThisNode, Place::OtherNode] {
            assert_eq!(Place::from_raw(place as u8), Some(place));
        }
        assert_eq!(Place::from_raw(3), None);
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
        assert_eq!(FrontendKind::from_raw(RESTRICTED | SELF_TEST), None, "no Service's");
    }
}
