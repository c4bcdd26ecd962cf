//! The tables of both families, with the backends and ClusterIPs that the maps have.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use super::cluster_ips::ClusterIps;
use crate::{
    desired::BackendAddr,
    maps::identity::Family,
    nat::{Entry, NatError, table::Table},
    plan::{Plan, Write, held::Held},
};

/// Backends with their identifiers.
type Entries = Vec<(u32, BackendAddr)>;

/// The tables, and what their maps have.
pub struct Rules {
    tables: [(Family, State); 2],
    backends: BTreeMap<u32, BackendAddr>,
    cluster_ips: ClusterIps,
}

enum State {
    /// Not made yet, or not known to be as it should be.
    Unmade,
    /// The kernel has no nf_tables for the family, and so no packets of it that are translated.
    Unsupported,
    Made(Table),
}

/// Families that an error is about.
pub enum Families {
    One(Family),
    Both,
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(family) => write!(f, "IPv{}", family.version()),
            Self::Both => f.write_str("IPv4 and IPv6"),
        }
    }
}

impl Rules {
    /// None yet.
    pub const fn new() -> Self {
        let tables = [(Family::V4, State::Unmade), (Family::V6, State::Unmade)];
        Self { tables, backends: BTreeMap::new(), cluster_ips: ClusterIps::new() }
    }

    /// True where packets of some family are translated.
    pub fn are_there(&self) -> bool {
        self.tables.iter().any(|(_, state)| matches!(state, State::Made(_)))
    }

    /// Tells the tables of the backends and ClusterIPs of a plan.
    pub fn put(&mut self, plan: &Plan) {
        let put = plan.writes().filter_map(|write| match write {
            Write::PutBackend { id, backend } => Some((*id, *backend)),
            _ => None,
        });
        let put: Entries = put.collect();
        // One that others were told to have before would be refused.
        let stale: Entries =
            put.iter().filter_map(|(id, _)| self.backends.remove_entry(id)).collect();
        self.change(&stale, Table::remove);
        self.backends.extend(put.iter().copied());
        self.change(&put, Table::put);
        let new = self.cluster_ips.put(plan);
        self.change(&new, Table::put);
    }

    /// Has the tables forget backends and ClusterIPs that a plan has removed.
    pub fn remove(&mut self, plan: &Plan) {
        let removed = plan.writes().filter_map(|write| match write {
            Write::RemoveBackend { id } => self.backends.remove_entry(id),
            _ => None,
        });
        let removed: Entries = removed.collect();
        self.change(&removed, Table::remove);
        let gone = self.cluster_ips.remove(plan);
        self.change(&gone, Table::remove);
    }

    /// Where that fails, the table is written anew at the next look, through another socket.
    fn change<E: Entry>(
        &mut self,
        entries: &[E],
        change: impl Fn(&Table, &[E]) -> Result<(), NatError>,
    ) {
        for (family, state) in &mut self.tables {
            let State::Made(table) = state else { continue };
            let some = of_family(*family, entries.iter().copied());
            if !some.is_empty()
                && let Err(error) = change(table, &some)
            {
                tracing::warn!(%error, "the rules for traffic from outside are written anew");
                *state = State::Unmade;
            }
        }
    }

    /// Makes what is missing and puts back what others have removed, each family for itself. Gives what
    /// could not be made.
    pub fn follow(&mut self, held: &Held) -> Vec<(Families, NatError)> {
        let mut failed = Vec::new();
        let mut cluster_ips = None;
        for (family, state) in &mut self.tables {
            if let State::Made(table) = state {
                match table.is_whole() {
                    Ok(true) => continue,
                    Ok(false) => tracing::warn!(
                        "the rules for traffic from outside over IPv{} were removed by somebody \
                         else: put back",
                        family.version()
                    ),
                    Err(error) => tracing::warn!(%error, "they are written anew"),
                }
                *state = State::Unmade;
            }
            if matches!(state, State::Unsupported) {
                continue;
            }
            let backends = held.backends.iter().map(|(backend, id)| (*id, *backend));
            let all = of_family(*family, backends);
            let cluster_ips = cluster_ips.get_or_insert_with(|| {
                self.cluster_ips.take(held.frontends.iter().map(|(frontend, _)| frontend));
                self.cluster_ips.all()
            });
            let ips: Vec<IpAddr> = of_family(*family, cluster_ips.iter().copied());
            *state = match Table::replace(*family, &all, &ips) {
                Ok(Some(table)) => {
                    self.backends.retain(|_, backend| Family::of(backend.addr().ip()) != *family);
                    self.backends.extend(all);
                    State::Made(table)
                }
                Ok(None) => State::Unsupported,
                Err(error) => {
                    failed.push((Families::One(*family), error));
                    State::Unmade
                }
            };
        }
        if self.tables.iter().all(|(_, state)| matches!(state, State::Unsupported)) {
            // A module may be loaded later.
            self.tables.iter_mut().for_each(|(_, state)| *state = State::Unmade);
            failed.push((Families::Both, NatError::Absent));
        }
        failed
    }
}

fn of_family<E: Entry>(family: Family, entries: impl Iterator<Item = E>) -> Vec<E> {
    entries.filter(|entry| entry.family() == family).collect()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::nat::table::{Owned, delete};

    /// In a network namespace of its own, where another process keeps the table of IPv6 for itself. Needs
    /// root.
    #[test]
    fn a_family_whose_table_cannot_be_made_leaves_the_other_alone() {
        let follow = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let owned = Owned::make(Family::V6).unwrap();
            let mut rules = Rules::new();
            for _ in 0..2 {
                let failed = rules.follow(&Held::default());
                let families: Vec<_> =
                    failed.iter().map(|(family, _)| family.to_string()).collect();
                assert_eq!(families, ["IPv6"]);
                assert!(rules.are_there(), "for IPv4");
            }
            drop(owned);
            assert!(rules.follow(&Held::default()).is_empty(), "of both families");
            // Those of one family are removed: they are put back.
            delete().unwrap();
            assert!(rules.follow(&Held::default()).is_empty());
            assert!(rules.are_there());
        };
        thread::spawn(follow).join().unwrap();
    }
}
