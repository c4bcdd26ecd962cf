//! Plans, row by row.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use balancer_common::layout::{FrontendKind, Row};
use ipnet::IpNet;

use super::{
    Plan, Write,
    book::Book,
    foreign::{self, Finding},
    held::HeldRow,
    leading::HeldFrontend,
    pools::Full,
    rows::{DesiredRow, Rows},
};
use crate::{
    desired::{BackendAddr, FrontendAddr, Options, PortId},
    maps::{
        ReadMaps, Settings,
        identity::{Family, RowId, Scope},
    },
    model::Protocol,
};

/// What the rows that are wanted stand for.
#[derive(Clone, Copy, Debug)]
pub enum Extent<'a> {
    /// All that there should be: others go. Except these, which stay as the maps hold them,
    /// whatever is wanted.
    All(&'a BTreeSet<RowId>),
    /// All rows of these Service ports: others of them go, those of other Service ports stay. An
    /// address that moves from one Service port to another is of both.
    Some(&'a BTreeSet<PortId>),
}

/// Plans the writes, and brings the book to what the maps hold once they are carried out. An empty
/// plan means that the maps hold what is wanted. The maps tell which backends have connections.
pub fn plan(book: &mut Book, wanted: &Rows, extent: Extent<'_>, maps: &impl ReadMaps) -> Plan {
    let none = BTreeSet::new();
    let unsure = if let Extent::All(unsure) = extent { unsure } else { &none };
    let mut planner =
        Planner { book, maps, plan: Plan::default(), room: None, lost: BTreeSet::new() };
    planner.begin();
    let foreign = match extent {
        Extent::All(_) => planner.book.take_foreign(maps),
        Extent::Some(_) => Vec::new(),
    };
    planner.plan.gave_up = matches!(extent, Extent::All(_)) && planner.book.awaits_release();
    planner.empty(unsure);
    // Keys of these may be wanted from now on; a range is the same entry of its map even where it
    // differs behind its prefix.
    let is_first = |found: &Finding| matches!(found.map, "RANGES" | "SERVING");
    let (first, last) = foreign.into_iter().partition::<Vec<_>, _>(is_first);
    planner.plan.steps.extend(first.into_iter().map(Finding::step));
    let mut kept = BTreeMap::new();
    for (id, row) in wanted.iter().filter(|(id, _)| !unsure.contains(id)) {
        match planner.row(id, row) {
            Ok((service, writes)) => {
                kept.insert(id, (row, service, writes));
            }
            Err(error) => {
                planner.plan.problems.push(error.problem(id));
                planner.plan.full.push(id.clone());
            }
        }
    }
    let (frontends, rows) = match extent {
        Extent::All(_) => planner.all_obsolete(&kept, unsure),
        Extent::Some(ports) => planner.obsolete_of(&kept, ports),
    };
    planner.unlink(frontends);
    for (id, (row, service, writes)) in kept {
        planner.link(id, row, service, writes);
    }
    for id in rows {
        planner.give_up(&id);
    }
    planner.renew(extent);
    // After all that led there.
    planner.plan.steps.extend(last.into_iter().map(Finding::step));
    planner.plan
}

/// Rows that are balanced: their identifier, and the writes before their frontends.
type Kept<'a> = BTreeMap<&'a RowId, (&'a DesiredRow, u32, Vec<Write>)>;

/// What is dialled for rows, whatever the reason.
fn dialled(kept: &Kept<'_>) -> BTreeSet<(SocketAddr, Protocol)> {
    let frontends = kept.values().flat_map(|(row, ..)| &row.frontends);
    frontends.map(|frontend| (frontend.addr, frontend.protocol)).collect()
}

/// Identifiers and slots for one row.
#[derive(Default)]
struct Placed {
    service: u32,
    row: Row,
    /// Its backends with their weights, sorted.
    backends: Vec<(u32, u16)>,
    /// Those beside them that flows stay with, sorted.
    serving: Vec<u32>,
    /// Those that had no identifier.
    new: Vec<(BackendAddr, u32)>,
}

struct Planner<'a, M> {
    book: &'a mut Book,
    maps: &'a M,
    plan: Plan,
    /// How many more frontends fit, over IPv4 and IPv6. Counted where a row brings the first.
    room: Option<[u32; 2]>,
    /// Service ports that an address of UDP leads to no longer, or no longer for all clients.
    lost: BTreeSet<u32>,
}

impl<M: ReadMaps> Planner<'_, M> {
    fn begin(&mut self) {
        for (backend, id) in self.book.begin(self.maps) {
            self.plan.push(format!("backend {backend}"), vec![Write::RemoveBackend { id }]);
        }
    }

    /// Rows that stay, and that no agent has written as they stand: their slots are not theirs.
    fn empty(&mut self, unsure: &BTreeSet<RowId>) {
        for id in unsure {
            if let Some(held) = self.book.held.rows.get_mut(id).filter(|held| held.row.is_none()) {
                held.row = Some(Row::EMPTY);
                let write = Write::SetRow { service: held.id, row: Row::EMPTY };
                self.plan.push(format!("Service {id}"), vec![write]);
                self.plan.gave_up = true;
            }
        }
    }

    /// Backends, name, slots and word of one row.
    fn row(&mut self, id: &RowId, wanted: &DesiredRow) -> Result<(u32, Vec<Write>), Full> {
        let frontends = self.new_frontends(wanted);
        if frontends > 0 && frontends > *self.room(id.family) {
            return Err(self.book.pools.no_frontends());
        }
        let Placed { service, row, backends, serving, new } = self.place(id, wanted)?;
        if frontends > 0 {
            *self.room(id.family) -= frontends;
        }
        let put = |(backend, id)| Write::PutBackend { id, backend };
        let mut writes: Vec<_> = new.into_iter().map(put).collect();
        let held = self.book.held().rows.get(id);
        if held.is_none_or(|held| held.number != wanted.number) {
            let id = Box::new(id.clone());
            writes.push(Write::PutName { service, id, number: wanted.number });
        }
        let settings = self.settings(id, wanted, service);
        // Others may have written to an entry that had no name.
        if held.map_or_else(|| self.maps.settings(service), |held| held.settings) != settings {
            writes.push(Write::SetSettings { service, settings });
        }
        let held_ranges = held.map(|held| &held.ranges);
        let is_held = |range: &IpNet| held_ranges.is_some_and(|ranges| ranges.contains(range));
        let missing = wanted.ranges.iter().filter(|range| !is_held(range));
        writes.extend(missing.map(|range| Write::PutRange { service, range: *range }));
        let held_serving = held.map_or(&[][..], |held| &held.serving);
        let put = serving.iter().filter(|backend| !held_serving.contains(backend));
        writes.extend(put.map(|backend| Write::PutServing { service, backend: *backend }));
        // What is in the row from now on stays in the map until the row is.
        let is_named = |backend: &u32| backends.iter().any(|(id, _)| id == backend);
        let removed = held_serving.iter().filter(|backend| !serving.contains(backend));
        let (later, now): (Vec<u32>, Vec<u32>) = removed.partition(|backend| is_named(backend));
        let remove = |backend| Write::RemoveServing { service, backend };
        writes.extend(now.into_iter().map(remove));
        // Also where it is the same: who remembers its word compares again.
        let is_linked = held.is_some_and(|held| held.row == Some(row));
        if !is_linked || held.is_some_and(|held| held.serving != serving) {
            if row.len > 0 && !is_linked {
                writes.push(Write::PutSlots { row, backends: backends.clone() });
            }
            writes.push(Write::SetRow { service, row });
        }
        writes.extend(later.into_iter().map(remove));
        // Those that are not wanted any more are still in the maps until the row is linked.
        let ranges = held_ranges.into_iter().flatten().chain(&wanted.ranges).copied().collect();
        let (number, row) = (wanted.number, Some(row));
        let entry = HeldRow { id: service, number, row, backends, serving, settings, ranges };
        self.plan.gave_up |= self.book.put(id, entry);
        Ok((service, writes))
    }

    /// How many frontends of a row the maps do not know, whatever their kind.
    fn new_frontends(&self, wanted: &DesiredRow) -> u32 {
        let held = &self.book.held().frontends;
        wanted.frontends.iter().filter(|frontend| !held.has_dialled(frontend)).count() as u32
    }

    /// How many more fit. What this plan removes makes room for the next one.
    fn room(&mut self, family: Family) -> &mut u32 {
        let held = &self.book.held().frontends;
        let limit = self.book.pools.frontends();
        let room = || Family::ALL.map(|family| limit.saturating_sub(held.count(family)));
        &mut self.room.get_or_insert_with(room)[usize::from(family == Family::V6)]
    }

    fn settings(&self, id: &RowId, wanted: &DesiredRow, service: u32) -> Settings {
        let Options { policy, affinity, slow_start, keeps_suspects, stays } = wanted.options;
        // The row of the ClusterIP is planned first, by the order of rows.
        let group = || self.book.held().rows.get(&id.group()).map_or(service, |row| row.id);
        let group = match id.scope {
            _ if affinity == 0 => 0,
            Scope::Outside => service,
            _ => group(),
        };
        let outside = self.book.held().rows.get(&id.outside()).map(|row| row.id);
        let outside = outside.filter(|_| stays && id.scope != Scope::Outside);
        Settings { policy, affinity, slow_start, group, keeps_suspects, stays, outside }
    }

    /// Identifiers and slots for one row; those that it holds where they still fit. Takes nothing
    /// where the row does not fit.
    fn place(&mut self, id: &RowId, wanted: &DesiredRow) -> Result<Placed, Full> {
        let mut placed = Placed::default();
        self.fill(id, wanted, &mut placed).inspect_err(|_| {
            for &(backend, id) in &placed.new {
                self.book.forget(backend, id);
            }
        })?;
        Ok(placed)
    }

    fn fill(&mut self, id: &RowId, wanted: &DesiredRow, placed: &mut Placed) -> Result<(), Full> {
        for &(backend, weight) in &wanted.backends {
            let id = match self.book.held.backends.get(&backend) {
                Some(id) => *id,
                None => {
                    let id = self.book.pools.backend()?;
                    self.book.add(backend, id);
                    placed.new.push((backend, id));
                    id
                }
            };
            placed.backends.push((id, weight));
        }
        placed.backends.sort_unstable();
        // No flow leads to one without an identifier.
        let known = wanted.serving.iter().filter_map(|b| self.book.held.backends.get(b));
        placed.serving = known.copied().collect();
        placed.serving.sort_unstable();
        let held = self.book.held.rows.get(id);
        let known = held.map(|held| held.id);
        let same = held.filter(|held| held.backends == placed.backends).and_then(|held| held.row);
        placed.row = match same {
            _ if placed.backends.is_empty() => wanted.empty,
            Some(row) => row,
            None => self.book.pools.row(placed.backends.len() as u32)?,
        };
        placed.service = match known {
            Some(id) => id,
            None => {
                let service = self.book.service(self.maps);
                service.inspect_err(|_| self.book.pools.give_row(placed.row))?
            }
        };
        Ok(())
    }

    /// Frontends and rows that lead nowhere any more. An address that moves to another Service is
    /// not among them: it is replaced later, and never missing.
    fn all_obsolete(
        &self,
        kept: &Kept<'_>,
        unsure: &BTreeSet<RowId>,
    ) -> (Vec<FrontendAddr>, Vec<RowId>) {
        let held = self.book.held();
        let wanted = dialled(kept);
        let uncertain: BTreeSet<_> =
            unsure.iter().filter_map(|id| held.rows.get(id)).map(|held| held.id).collect();
        let is_obsolete = |(frontend, leads): &(&FrontendAddr, &HeldFrontend)| {
            !uncertain.contains(&leads.service)
                && !wanted.contains(&(frontend.addr, frontend.protocol))
        };
        let frontends = held.frontends.iter().filter(is_obsolete);
        let goes = |id: &&RowId| !kept.contains_key(id) && !unsure.contains(id);
        (
            frontends.map(|(frontend, _)| *frontend).collect(),
            held.rows.keys().filter(goes).cloned().collect(),
        )
    }

    /// The same, of the rows of some Service ports.
    fn obsolete_of(
        &self,
        kept: &Kept<'_>,
        ports: &BTreeSet<PortId>,
    ) -> (Vec<FrontendAddr>, Vec<RowId>) {
        let wanted = dialled(kept);
        let (mut frontends, mut rows) = (Vec::new(), Vec::new());
        for (id, row) in ports.iter().flat_map(|port| self.book.rows_of(port)) {
            let led = self.book.held().frontends.to(row.id);
            let is_obsolete =
                |frontend: &&FrontendAddr| !wanted.contains(&(frontend.addr, frontend.protocol));
            frontends.extend(led.filter(is_obsolete));
            if !kept.contains_key(id) {
                rows.push(id.clone());
            }
        }
        (frontends, rows)
    }

    fn unlink(&mut self, frontends: Vec<FrontendAddr>) {
        for frontend in frontends {
            self.lose(&frontend);
            if self.book.held.frontends.remove(&frontend) {
                let object = format!("frontend {}", foreign::named(&frontend));
                self.plan.push(object, vec![Write::RemoveFrontend { frontend }]);
                self.plan.gave_up = true;
            }
        }
    }

    /// Where an address leads, it will not lead any more.
    fn lose(&mut self, frontend: &FrontendAddr) {
        if frontend.protocol == Protocol::Udp
            && let Some(leads) = self.book.held.frontends.get(frontend)
        {
            self.lost.insert(leads.service);
        }
    }

    /// Writes the rows again of Service ports that have lost an address: flows of UDP sockets
    /// follow their record while the word of the row is the same, and then look for their Service
    /// again.
    fn renew(&mut self, extent: Extent<'_>) {
        if self.lost.is_empty() {
            return;
        }
        let rows: Vec<_> = match extent {
            Extent::All(_) => self.book.held.rows.iter().collect(),
            Extent::Some(ports) => ports.iter().flat_map(|port| self.book.rows_of(port)).collect(),
        };
        for (id, held) in rows {
            if let Some(row) = held.row.filter(|_| self.lost.contains(&held.id)) {
                let write = Write::SetRow { service: held.id, row };
                self.plan.push(format!("Service {id}"), vec![write]);
            }
        }
    }

    /// The step of one row: what [`Planner::row`] found, then its frontends.
    fn link(&mut self, id: &RowId, row: &DesiredRow, service: u32, mut writes: Vec<Write>) {
        for &frontend in &row.frontends {
            let restricted = row.restricts(&frontend);
            let leads = HeldFrontend { service, restricted };
            if self.book.held.frontends.get(&frontend) != Some(&leads) {
                // The maps know an address once, whatever its kind.
                for kind in FrontendKind::ALL {
                    let before = FrontendAddr { kind, ..frontend };
                    self.lose(&before);
                    self.book.held.frontends.remove(&before);
                }
                self.book.held.frontends.insert(frontend, leads);
                writes.push(Write::PutFrontend { frontend, service, restricted });
            }
        }
        // After the frontends: one that is free for all from now on must not refuse anybody first.
        if let Some(held) = self.book.held.rows.get_mut(id) {
            for range in held.ranges.difference(&row.ranges) {
                writes.push(Write::RemoveRange { service, range: *range });
            }
            held.ranges.clone_from(&row.ranges);
        }
        self.plan.rows += usize::from(!writes.is_empty());
        self.plan.push(format!("Service {id}"), writes);
    }

    /// A row that is not balanced any more, after [`Planner::link`] has moved the frontends that
    /// other Services took over.
    fn give_up(&mut self, id: &RowId) {
        let Some(held) = self.book.remove(id) else { return };
        let service = held.id;
        let mut writes = vec![Write::SetRow { service, row: Row::EMPTY }];
        // Whoever gets the identifier starts with the defaults.
        if held.settings != Settings::default() {
            writes.push(Write::SetSettings { service, settings: Settings::default() });
        }
        writes
            .extend(held.ranges.iter().map(|range| Write::RemoveRange { service, range: *range }));
        let serving = held.serving.iter();
        writes.extend(serving.map(|backend| Write::RemoveServing { service, backend: *backend }));
        writes.push(Write::RemoveName { service });
        self.plan.push(format!("Service {id}"), writes);
        self.plan.gave_up = true;
    }
}
