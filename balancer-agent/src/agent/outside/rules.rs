//! The tables of both families, with the backends that the maps have.

use std::{collections::BTreeMap, fmt};

use crate::{
    desired::BackendAddr,
    maps::identity::Family,
    nat::{NatError, table::Table},
    plan::{Plan, Write},
};

/// Backends with their identifiers.
type Entries = Vec<(u32, BackendAddr)>;

/// The tables, and what their maps have.
pub struct Rules {
    tables: [(Family, State); 2],
    backends: BTreeMap<u32, BackendAddr>,
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
        Self { tables, backends: BTreeMap::new() }
    }

    /// True where packets of some family are translated.
    pub fn are_there(&self) -> bool {
        self.tables.iter().any(|(_, state)| matches!(state, State::Made(_)))
    }

    /// Tells the tables of the backends of a plan.
    pub fn put(&mut self, plan: &Plan) {
        let put = writes(plan).filter_map(|write| match write {
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
    }

    /// Has the tables forget backends that a plan has removed.
    pub fn remove(&mut self, plan: &Plan) {
        let removed = writes(plan).filter_map(|write| match write {
            Write::RemoveBackend { id } => self.backends.remove_entry(id),
            _ => None,
        });
        let removed: Entries = removed.collect();
        self.change(&removed, Table::remove);
    }

    /// Where that fails, the table is written anew at the next look, through another socket.
    fn change(
        &mut self,
        backends: &[(u32, BackendAddr)],
        change: impl Fn(&Table, &[(u32, BackendAddr)]) -> Result<(), NatError>,
    ) {
        for (family, state) in &mut self.tables {
            let State::Made(table) = state else { continue };
            let some = of_family(*family, backends.iter().copied());
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
    pub fn follow(&mut self, held: &BTreeMap<BackendAddr, u32>) -> Vec<(Families, NatError)> {
        let mut failed = Vec::new();
        for (family, state) in &mut self.tables {
            if let State::Made(table) = state {
                match table.is_there() {
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
            let all = of_family(*family, held.iter().map(|(backend, id)| (*id, *backend)));
            *state = match Table::replace(*family, &all) {
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

fn of_family(
    family: Family,
    backends: impl Iterator<Item = (u32, BackendAddr)>,
) -> Vec<(u32, BackendAddr)> {
    backends.filter(|(_, backend)| Family::of(backend.addr().ip()) == family).collect()
}

fn writes(plan: &Plan) -> impl Iterator<Item = &Write> {
    plan.steps.iter().flat_map(|step| &step.writes)
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
                let failed = rules.follow(&BTreeMap::new());
                let families: Vec<_> =
                    failed.iter().map(|(family, _)| family.to_string()).collect();
                assert_eq!(families, ["IPv6"]);
                assert!(rules.are_there(), "for IPv4");
            }
            drop(owned);
            assert!(rules.follow(&BTreeMap::new()).is_empty(), "of both families");
            // Those of one family are removed: they are put back.
            delete().unwrap();
            assert!(rules.follow(&BTreeMap::new()).is_empty());
            assert!(rules.are_there());
        };
        thread::spawn(follow).join().unwrap();
    }
}
