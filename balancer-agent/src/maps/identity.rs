//! What a row of the maps is known by, in every plan and after every restart.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::desired::PortId;

/// IP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, also where an IPv6 socket dials `::ffff:a.b.c.d`.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// 4 or 6.
    pub const fn version(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// The inverse of [`Family::version`].
    pub const fn from_version(version: u8) -> Option<Self> {
        match version {
            4 => Some(Self::V4),
            6 => Some(Self::V6),
            _ => None,
        }
    }
}

/// Which frontends a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Connections from outside where externalTrafficPolicy is Local. First, since the rows of the
    /// frontends that they come to name it.
    Outside,
    /// The ClusterIP, and every other frontend that has the same endpoints.
    Internal,
    /// External addresses where internalTrafficPolicy is Local, which does not concern them.
    External,
    /// Its node port at other nodes that have no endpoint, where externalTrafficPolicy is Local.
    NoNode,
    /// Its node port at one address of another node, where externalTrafficPolicy is Local.
    Node(IpAddr),
}

impl Scope {
    /// The last in their order.
    pub const LAST: Self = Self::Node(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));
}

/// What a row is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The Service port.
    pub port: PortId,
    /// The family of its frontends and backends.
    pub family: Family,
    /// Which of its frontends.
    pub scope: Scope,
}

impl RowId {
    /// The row whose memory of clients this one shares, if there is such a row.
    pub fn group(&self) -> Self {
        Self { scope: Scope::Internal, ..self.clone() }
    }

    /// The row for connections from outside, if there is such a row.
    pub fn outside(&self) -> Self {
        Self { scope: Scope::Outside, ..self.clone() }
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over IPv{}", self.port, self.family.version())?;
        match self.scope {
            Scope::Outside => f.write_str(", from outside"),
            Scope::Internal => Ok(()),
            Scope::External => f.write_str(", external"),
            Scope::NoNode => f.write_str(", at nodes without endpoints"),
            Scope::Node(ip) => write!(f, ", at node {ip}"),
        }
    }
}
