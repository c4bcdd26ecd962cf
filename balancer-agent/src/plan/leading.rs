//! Captured addresses, found by where they lead too.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    ops::Bound,
};

use balancer_common::layout::FrontendKind;

use crate::{
    desired::FrontendAddr,
    maps::identity::Family,
    model::{Protocol, compact},
};

/// Where a captured address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldFrontend {
    /// Identifier of the row.
    pub service: u32,
    /// True if only some clients may use it.
    pub restricted: bool,
}

/// Captured addresses and where they lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leading {
    by_address: BTreeMap<FrontendAddr, HeldFrontend>,
    /// The same, by the identifier of the row. One tree: one for each row would take a node of its
    /// own for an address or two.
    by_row: BTreeSet<(u32, FrontendAddr)>,
    /// How many there are over IPv4 and IPv6.
    counts: [u32; 2],
}

impl HeldFrontend {
    /// Where an address leads that is captured for no reason that is known: to no row.
    pub const NOWHERE: Self = Self { service: u32::MAX, restricted: false };
}

impl Leading {
    /// Where an address leads.
    pub fn get(&self, frontend: &FrontendAddr) -> Option<&HeldFrontend> {
        self.by_address.get(frontend)
    }

    /// Each address and where it leads.
    pub fn iter(&self) -> impl Iterator<Item = (&FrontendAddr, &HeldFrontend)> {
        self.by_address.iter()
    }

    /// Those from one on, in their order.
    pub fn from(
        &self,
        first: Bound<&FrontendAddr>,
    ) -> impl Iterator<Item = (&FrontendAddr, &HeldFrontend)> {
        self.by_address.range((first, Bound::Unbounded))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// True if an address leads somewhere, whatever its kind.
    pub fn has_dialled(&self, frontend: &FrontendAddr) -> bool {
        let is_known = |kind| self.by_address.contains_key(&FrontendAddr { kind, ..*frontend });
        FrontendKind::ALL.into_iter().any(is_known)
    }

    /// The addresses that lead to a row.
    pub fn to(&self, row: u32) -> impl Iterator<Item = &FrontendAddr> {
        let of_row = self.by_row.range((row, FIRST)..).take_while(move |(of, _)| *of == row);
        of_row.map(|(_, frontend)| frontend)
    }

    /// How many there are over a family.
    pub fn count(&self, family: Family) -> u32 {
        self.counts[of(family)]
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Has an address lead somewhere, wherever it led before.
    pub fn insert(&mut self, frontend: FrontendAddr, leads: HeldFrontend) {
        self.remove(&frontend);
        self.by_row.insert((leads.service, frontend));
        self.by_address.insert(frontend, leads);
        self.counts[of(Family::of(frontend.addr.ip()))] += 1;
    }

    /// Forgets an address; false if it is not there.
    pub fn remove(&mut self, frontend: &FrontendAddr) -> bool {
        let Some(led) = self.by_address.remove(frontend) else { return false };
        self.by_row.remove(&(led.service, *frontend));
        self.counts[of(Family::of(frontend.addr.ip()))] -= 1;
        true
    }

    /// Gives back the memory that growing has left unused.
    pub fn compact(&mut self) {
        compact(&mut self.by_address);
        self.by_row = std::mem::take(&mut self.by_row).into_iter().collect();
    }
}

/// None is before it in the order of addresses.
const FIRST: FrontendAddr = FrontendAddr {
    kind: FrontendKind::ClusterIp,
    addr: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
    protocol: Protocol::Tcp,
};

const fn of(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_by_their_row() {
        let frontend = |addr: &str| FrontendAddr {
            kind: FrontendKind::ClusterIp,
            addr: addr.parse().unwrap(),
            protocol: Protocol::Tcp,
        };
        let leads = |service| HeldFrontend { service, restricted: false };
        let (a, b, c) =
            (frontend("10.96.0.1:80"), frontend("10.96.0.2:80"), frontend("[fd00::1]:80"));
        let mut leading = Leading::default();
        for (frontend, row) in [(a, 1), (b, 1), (c, 1), (b, 2)] {
            leading.insert(frontend, leads(row));
        }
        let to = |leading: &Leading, row| leading.to(row).copied().collect::<Vec<_>>();
        assert_eq!((to(&leading, 1), to(&leading, 2)), (vec![a, c], vec![b]));
        assert_eq!((leading.count(Family::V4), leading.count(Family::V6)), (2, 1));
        assert!(leading.remove(&c) && !leading.remove(&c));
        assert!(leading.remove(&b));
        let mut one = Leading::default();
        one.insert(a, leads(1));
        assert_eq!(leading, one, "nothing is left of the others");
    }
}
