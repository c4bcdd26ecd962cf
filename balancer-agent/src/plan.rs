//! The writes that turn what the maps hold into what is desired. Pure.
//!
//! A plan is plain data: steps, one per object, each a list of writes in an order that is safe to
//! stop after any of them. Backends before the row that names them, the row before the frontends
//! that lead to it, frontends away before what they led to. Nothing that a running program may
//! still read is used again within one plan: rows that are replaced and identifiers that are given
//! up become free in the *next* plan, and [`Write::Grace`] at the end waits for the programs.

pub mod convert;
pub mod held;
mod pools;
pub mod rows;

use std::collections::{BTreeMap, BTreeSet};

use balancer_common::layout::Row;
use ipnet::IpNet;

use crate::{
    desired::{BackendAddr, Desired, FrontendAddr, Options},
    maps::{Limits, Settings},
    model::Problem,
};
use held::{Held, HeldFrontend, HeldRow};
use pools::{Full, Pools};
use rows::{DesiredRow, RowId};

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Give an identifier to a backend; its counters start at 0.
    PutBackend {
        /// The identifier.
        id: u32,
        /// The backend.
        backend: BackendAddr,
    },
    /// Forget a backend that no row names and no connection is charged to.
    RemoveBackend {
        /// The identifier.
        id: u32,
    },
    /// Write the slots of a row that is not in use yet.
    PutSlots {
        /// The row.
        row: Row,
        /// Identifiers of its backends, and their weights.
        backends: Vec<(u32, u16)>,
    },
    /// Say how a backend of a Service port is chosen.
    SetSettings {
        /// The Service port.
        service: u32,
        /// How.
        settings: Settings,
    },
    /// Admit clients to the restricted addresses of a Service port.
    PutRange {
        /// The Service port.
        service: u32,
        /// The clients.
        range: IpNet,
    },
    /// Take an admission back.
    RemoveRange {
        /// The Service port.
        service: u32,
        /// The clients.
        range: IpNet,
    },
    /// Give an identifier to a Service port.
    PutName {
        /// The identifier.
        service: u32,
        /// What the entry is known by.
        id: RowId,
        /// `spec.ports[].port`.
        number: u16,
    },
    /// Point a Service port at a row.
    SetRow {
        /// The Service port.
        service: u32,
        /// The row.
        row: Row,
    },
    /// Capture an address.
    PutFrontend {
        /// The address.
        frontend: FrontendAddr,
        /// The Service port it leads to.
        service: u32,
        /// True if only some clients may use it.
        restricted: bool,
    },
    /// Stop capturing an address.
    RemoveFrontend {
        /// The address.
        frontend: FrontendAddr,
    },
    /// Give up the identifier of a Service port.
    RemoveName {
        /// The identifier.
        service: u32,
    },
    /// Wait for the programs that may still use what was given up.
    Grace,
}

/// The writes for one object. If one fails, the rest of the step is left out; other steps are not
/// affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The object, as messages name it.
    pub object: String,
    /// The writes, in order.
    pub writes: Vec<Write>,
}

/// What has to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// What does not fit.
    pub problems: Vec<Problem>,
}

/// Plans the writes. An empty plan means that the maps hold what is desired.
///
/// Rows of `unsure` stay as the maps hold them, whatever is desired.
pub fn plan(held: &Held, desired: &Desired, limits: Limits, unsure: &BTreeSet<RowId>) -> Plan {
    let wanted = rows::rows(desired);
    let mut planner = Planner::new(held, limits, unsure);
    let mut kept = BTreeMap::new();
    for (id, row) in wanted.iter().filter(|(id, _)| !unsure.contains(id)) {
        match planner.row(id, row) {
            Ok((service, writes)) => {
                kept.insert(id, (row, service, writes));
            }
            Err(full) => planner.plan.problems.push(full.problem(id)),
        }
    }
    planner.unlink(&kept);
    for (id, (row, service, writes)) in &mut kept {
        planner.link(id, row, *service, std::mem::take(writes));
    }
    planner.give_up(&kept);
    planner.finish()
}

/// Rows that are balanced: their identifier, and the writes before their frontends.
type Kept<'a> = BTreeMap<&'a RowId, (&'a DesiredRow, u32, Vec<Write>)>;

/// Identifier, row, and the backends of the row with their weights.
type Placed = (u32, Row, Vec<(u32, u16)>);

struct Planner<'a> {
    held: &'a Held,
    unsure: &'a BTreeSet<RowId>,
    pools: Pools,
    /// Identifiers of backends, with those that this plan gives.
    backends: BTreeMap<BackendAddr, u32>,
    /// Identifiers of rows.
    services: BTreeMap<RowId, u32>,
    plan: Plan,
    /// Something that programs may still use is given up.
    gave_up: bool,
}

impl<'a> Planner<'a> {
    /// Starts with what can be used again at once: backends that no row names and no connection is
    /// charged to. The grace at the end of the plan that took their last row away has passed. Those
    /// that are wanted again are given up, too, and made anew: nothing tells that they are still the
    /// same pod, and the slow start counts from here.
    fn new(held: &'a Held, limits: Limits, unsure: &'a BTreeSet<RowId>) -> Self {
        let mut plan = Plan::default();
        let mut backends = held.backends.clone();
        for backend in &held.idle {
            if let Some(id) = backends.remove(backend) {
                plan.push(format!("backend {}", backend.addr), vec![Write::RemoveBackend { id }]);
            }
        }
        let pools = Pools::new(held, &backends.values().copied().collect(), limits);
        let services = held.rows.iter().map(|(id, row)| (id.clone(), row.id)).collect();
        Self { held, unsure, pools, backends, services, plan, gave_up: false }
    }

    /// Backends, name, slots and word of one row.
    fn row(&mut self, id: &RowId, wanted: &DesiredRow) -> Result<(u32, Vec<Write>), Full> {
        let held = self.held.rows.get(id);
        let mark = self.pools.mark();
        let mut writes = Vec::new();
        let placed = self.place(held, wanted, &mut writes);
        let (service, row, backends) = placed.inspect_err(|_| {
            self.pools.reset(mark);
            for write in &writes {
                if let Write::PutBackend { backend, .. } = write {
                    self.backends.remove(backend);
                }
            }
        })?;
        if held.is_none_or(|held| held.number != wanted.number) {
            writes.push(Write::PutName { service, id: id.clone(), number: wanted.number });
        }
        self.services.insert(id.clone(), service);
        let Options { policy, affinity, slow_start } = wanted.options;
        // The row of the ClusterIP is planned first, by the order of rows.
        let group = self.services.get(&id.group()).copied().unwrap_or(service);
        let group = if affinity > 0 { group } else { 0 };
        let settings = Settings { policy, affinity, slow_start, group };
        if held.map_or(Settings::default(), |held| held.settings) != settings {
            writes.push(Write::SetSettings { service, settings });
        }
        let ranges = held.map(|held| &held.ranges);
        let is_held = |range: &IpNet| ranges.is_some_and(|ranges| ranges.contains(range));
        let missing = wanted.ranges.iter().filter(|range| !is_held(range));
        writes.extend(missing.map(|range| Write::PutRange { service, range: *range }));
        if held.is_none_or(|held| held.row != row) {
            if row.len > 0 {
                writes.push(Write::PutSlots { row, backends });
            }
            writes.push(Write::SetRow { service, row });
            self.gave_up |= held.is_some_and(|held| held.row.len > 0);
        }
        Ok((service, writes))
    }

    /// Identifiers and slots for one row; those that it holds where they still fit.
    fn place(
        &mut self,
        held: Option<&HeldRow>,
        wanted: &DesiredRow,
        writes: &mut Vec<Write>,
    ) -> Result<Placed, Full> {
        let mut backends = Vec::new();
        for &(backend, weight) in &wanted.backends {
            let id = match self.backends.get(&backend) {
                Some(id) => *id,
                None => {
                    let id = self.pools.backend()?;
                    self.backends.insert(backend, id);
                    writes.push(Write::PutBackend { id, backend });
                    id
                }
            };
            backends.push((id, weight));
        }
        backends.sort_unstable();
        let service = held.map_or_else(|| self.pools.service(), |held| Ok(held.id))?;
        let row = match held {
            _ if backends.is_empty() => wanted.empty,
            Some(held) if held.backends == backends => held.row,
            _ => self.pools.row(backends.len() as u32)?,
        };
        Ok((service, row, backends))
    }

    /// Frontends that lead nowhere any more. An address that moves to another Service is not among
    /// them: it is replaced later, and never missing.
    fn unlink(&mut self, kept: &Kept<'_>) {
        let wanted: BTreeSet<_> = kept
            .values()
            .flat_map(|(row, ..)| &row.frontends)
            .map(|frontend| (frontend.addr, frontend.protocol))
            .collect();
        let unsure: BTreeSet<_> = self
            .unsure
            .iter()
            .filter_map(|id| self.held.rows.get(id))
            .map(|held| held.id)
            .collect();
        for (frontend, held) in &self.held.frontends {
            if unsure.contains(&held.service) {
                continue;
            }
            if !wanted.contains(&(frontend.addr, frontend.protocol)) {
                let object = format!("frontend {} over {}", frontend.addr, frontend.protocol);
                self.plan.push(object, vec![Write::RemoveFrontend { frontend: *frontend }]);
                self.gave_up = true;
            }
        }
    }

    /// Rows that are not balanced any more, after [`Planner::link`] has moved the frontends
    /// that other Services took over.
    fn give_up(&mut self, kept: &Kept<'_>) {
        let gone = |id: &RowId| !kept.contains_key(id) && !self.unsure.contains(id);
        for (id, held) in self.held.rows.iter().filter(|(id, _)| gone(id)) {
            let service = held.id;
            let mut writes = vec![Write::SetRow { service, row: Row::EMPTY }];
            // Whoever gets the identifier starts with the defaults.
            if held.settings != Settings::default() {
                writes.push(Write::SetSettings { service, settings: Settings::default() });
            }
            writes.extend(
                held.ranges.iter().map(|range| Write::RemoveRange { service, range: *range }),
            );
            writes.push(Write::RemoveName { service });
            self.plan.push(format!("Service {id}"), writes);
            self.gave_up = true;
        }
    }

    /// The step of one row: what [`Planner::row`] found, then its frontends.
    fn link(&mut self, id: &RowId, row: &DesiredRow, service: u32, mut writes: Vec<Write>) {
        for frontend in &row.frontends {
            let restricted = row.restricts(frontend);
            if self.held.frontends.get(frontend) != Some(&HeldFrontend { service, restricted }) {
                writes.push(Write::PutFrontend { frontend: *frontend, service, restricted });
            }
        }
        // After the frontends: one that is free for all from now on must not refuse anybody first.
        let obsolete = self.held.rows.get(id).map(|held| held.ranges.difference(&row.ranges));
        for range in obsolete.into_iter().flatten() {
            writes.push(Write::RemoveRange { service, range: *range });
        }
        self.plan.push(format!("Service {id}"), writes);
    }

    fn finish(mut self) -> Plan {
        if self.gave_up {
            self.plan.push("running programs".to_owned(), vec![Write::Grace]);
        }
        self.plan
    }
}

impl Plan {
    fn push(&mut self, object: String, writes: Vec<Write>) {
        if !writes.is_empty() {
            self.steps.push(Step { object, writes });
        }
    }
}

#[cfg(test)]
mod tests;
