//! What is desired, as rows: one for every Service port and family.
//!
//! A client of one family can't reach endpoints of the other, so that a Service port of both is two
//! entries in the maps, each with the frontends and backends of its family.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use balancer_common::layout::Row;

use crate::desired::{BackendAddr, Desired, FrontendAddr, PortId};

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

/// What a row is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The Service port.
    pub port: PortId,
    /// The family of its frontends and backends.
    pub family: Family,
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over IPv{}", self.port, self.family.version())
    }
}

/// What a row should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRow {
    /// `spec.ports[].port`.
    pub number: u16,
    /// Addresses that lead to it.
    pub frontends: Vec<FrontendAddr>,
    /// Where connections may go.
    pub backends: Vec<BackendAddr>,
    /// What stands for the row where there is no backend.
    pub empty: Row,
}

/// Every row. A family that no frontend has needs none.
pub fn rows(desired: &Desired) -> BTreeMap<RowId, DesiredRow> {
    let mut rows = BTreeMap::new();
    for (id, port) in &desired.ports {
        for family in Family::ALL {
            let frontends = port.frontends.iter().filter(|f| Family::of(f.addr.ip()) == family);
            let frontends: Vec<_> = frontends.copied().collect();
            if frontends.is_empty() {
                continue;
            }
            let usable = port.backends.iter().filter(|(_, details)| details.usable);
            let backends = usable.map(|(backend, _)| *backend);
            let backends = backends.filter(|b| Family::of(b.addr.ip()) == family).collect();
            let empty = if port.local { Row::NOT_LOCAL } else { Row::EMPTY };
            let row = DesiredRow { number: port.number, frontends, backends, empty };
            rows.insert(RowId { port: id.clone(), family }, row);
        }
    }
    rows
}
