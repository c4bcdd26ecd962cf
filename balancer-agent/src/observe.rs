//! The only reader of the kernel: snapshots of counters for everything that shows something.

pub mod clients;
pub mod connections;
pub mod explain;
mod moment;
mod odds;
pub mod offline;
mod outside;
pub mod trace;
pub mod views;

use std::collections::{BTreeMap, BTreeSet};

use balancer_common::{
    charge,
    layout::{Backend, LIFETIME_WORDS, Row},
    policy::DEFAULT_WEIGHT,
    verdict::Verdict,
};

use self::moment::Moment;
pub use self::offline::{ObserveError, Offline};
use crate::{
    desired::{BackendAddr, FrontendAddr, PortId},
    maps::{FrontendKey, MapsError, ReadMaps, Settings, convert, identity::RowId},
    plan::entries,
    view::CapacityView,
};

/// What the maps hold at one moment, whatever an agent writes meanwhile. Counters change while they
/// are read, so that numbers of different backends may be some microseconds apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Service ports, their families together.
    pub ports: BTreeMap<PortId, PortSnapshot>,
    /// Every backend in use, shown with a Service port or not: connections ever opened, and those that
    /// were refused or timed out.
    pub counted: Vec<(BackendAddr, u64, u64)>,
    /// Open connections over all backends.
    pub connections: u64,
    /// Use of the maps.
    pub capacity: Vec<CapacityView>,
    /// How long connections lived: buckets and their sum, as the map has them.
    pub lifetimes: [u64; LIFETIME_WORDS],
    /// Verdicts and how often they were given.
    pub verdicts: Vec<(Verdict, u64)>,
}

/// One Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSnapshot {
    /// Its number.
    pub number: u16,
    /// How a backend is chosen.
    pub settings: Settings,
    /// Addresses that lead to it.
    pub frontends: Vec<FrontendAddr>,
    /// Backends of its rows, and those that left it with connections still open.
    pub backends: Vec<BackendSnapshot>,
}

/// One backend of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendSnapshot {
    /// The backend.
    pub backend: BackendAddr,
    /// True if new connections may go there.
    pub in_row: bool,
    /// Its share beside that of others, where it is in a row.
    pub weight: u16,
    /// Open connections.
    pub active: u32,
    /// Connections ever opened.
    pub opened: u64,
    /// Connections refused or timed out.
    pub failed: u64,
    /// True if it has just failed and gets no connection while others answer.
    pub suspect: bool,
    /// How often that was so.
    pub suspected: u32,
}

impl Snapshot {
    /// Reads the maps.
    pub fn read(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        let in_use = InUse::read(maps);
        let (charged, connections_used) = charged(maps);
        let Moment { names, frontends, rows } = Moment::read(maps)?;
        let mut leading: BTreeMap<u32, Vec<FrontendAddr>> = BTreeMap::new();
        let (mut frontends4, mut frontends6) = (0, 0);
        for (key, value) in frontends {
            if let Some(frontend) = convert::frontend_addr(key, value) {
                match key {
                    FrontendKey::V4(_) => frontends4 += 1,
                    FrontendKey::V6(_) => frontends6 += 1,
                }
                leading.entry(value.service).or_default().push(frontend);
            }
        }
        let shown = |id: u32, weight: Option<u16>, entry: &Backend| {
            Some(BackendSnapshot {
                backend: convert::backend_addr(entry)?,
                in_row: weight.is_some(),
                weight: weight.unwrap_or(DEFAULT_WEIGHT),
                active: maps.active(id),
                opened: entry.opened,
                failed: entry.failed,
                suspect: maps.is_suspect(id),
                suspected: entry.suspected,
            })
        };
        let mut ports: BTreeMap<PortId, PortSnapshot> = BTreeMap::new();
        let (mut services_used, mut slots) = (0, 0);
        for (service, name) in names {
            let Some(RowId { port, .. }) = convert::row_id(&name) else { continue };
            let Some(row) = rows.get(&service) else { continue };
            services_used += 1;
            slots += u64::from(Row::width(row.row().len));
            let in_row: BTreeSet<u32> = row.slots.iter().map(|(slot, _)| slot.backend).collect();
            let left = charged.range((service, 0)..=(service, u32::MAX)).map(|(_, id)| *id);
            let left = left.filter(|id| !in_row.contains(id)).filter_map(|id| {
                // Where it is another one by now, the connection has ended.
                let entry = maps.backend(id);
                let then = in_use.backend(id);
                shown(id, None, &entry).filter(|shown| Some(shown.backend) == then)
            });
            let slots = row.slots.iter();
            let usable =
                slots.filter_map(|(slot, entry)| shown(slot.backend, Some(slot.weight), entry));
            let empty = || PortSnapshot {
                number: name.port,
                settings: row.settings,
                frontends: Vec::new(),
                backends: Vec::new(),
            };
            let view = ports.entry(port).or_insert_with(empty);
            view.backends.extend(usable.chain(left));
            // A backend may be in two rows of a port, of which one may not use it (any more).
            view.backends.sort_unstable_by_key(|shown| (shown.backend, !shown.in_row));
            view.backends.dedup_by_key(|shown| shown.backend);
            view.frontends.extend(leading.remove(&service).unwrap_or_default());
            view.frontends.sort_unstable();
        }
        let limits = maps.limits();
        let capacity = [
            ("services", services_used, limits.services),
            ("frontends4", frontends4, limits.frontends),
            ("frontends6", frontends6, limits.frontends),
            ("backends", in_use.entries, limits.backends - 1),
            ("slots", slots, limits.slots),
            ("connections", connections_used, charge::MAX_CHARGES),
        ];
        let capacity = capacity.map(|(name, used, max)| CapacityView {
            name: name.to_owned(),
            used,
            max: u64::from(max),
        });
        let mut verdicts = Vec::new();
        for verdict in Verdict::ALL {
            verdicts.push((verdict, maps.verdict(verdict)?));
        }
        let InUse { counted, connections, .. } = in_use;
        let lifetimes = maps.lifetimes()?;
        let capacity = capacity.into();
        Ok(Self { ports, counted, connections, capacity, lifetimes, verdicts })
    }
}

/// Backends in use at one moment.
#[derive(Default)]
struct InUse {
    /// How many entries they have in the map, those that no agent has written among them.
    entries: u64,
    /// Their open connections.
    connections: u64,
    /// Their identifiers, ascending, and what each is.
    ids: Vec<u32>,
    counted: Vec<(BackendAddr, u64, u64)>,
}

impl InUse {
    fn read(maps: &impl ReadMaps) -> Self {
        let mut found = Self::default();
        for (id, entry) in entries::backends(maps) {
            found.entries += 1;
            found.connections += u64::from(maps.active(id));
            if let Some(backend) = convert::backend_addr(&entry) {
                found.ids.push(id);
                found.counted.push((backend, entry.opened, entry.failed));
            }
        }
        found
    }

    fn backend(&self, id: u32) -> Option<BackendAddr> {
        self.ids.binary_search(&id).ok().map(|at| self.counted[at].0)
    }
}

/// Pairs of Service port and backend that have an open connection, and the number of charges.
fn charged(maps: &impl ReadMaps) -> (BTreeSet<(u32, u32)>, u64) {
    let mut pairs = BTreeSet::new();
    let mut used = 0;
    for index in 0..maps.charges() {
        let word = maps.charge(index);
        if charge::is_charge(word) {
            used += 1;
            pairs.insert((maps.record_service(index), charge::backend_of(word)));
        }
    }
    (pairs, used)
}
