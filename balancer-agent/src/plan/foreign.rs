//! What the maps have and no agent of this version wrote, or none that knew of the rest.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Display,
};

use super::{
    Entry, Plan, Step, Write,
    entries::Entries,
    held::{Held, HeldRow},
};
use crate::{
    desired::FrontendAddr,
    maps::{RangeEntry, ReadMaps, convert},
};

/// Something in the maps that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The map.
    pub map: &'static str,
    /// Of what, as messages name it.
    pub object: String,
    /// What puts it back.
    pub writes: Vec<Write>,
}

impl Finding {
    pub(super) fn new(map: &'static str, object: impl Display, writes: Vec<Write>) -> Self {
        Self { map, object: object.to_string(), writes }
    }

    /// The backend that is taken away, by its identifier.
    pub(super) fn backend(&self) -> Option<u32> {
        self.writes.iter().find_map(|write| match write {
            Write::RemoveBackend { id } => Some(*id),
            _ => None,
        })
    }

    /// The step that puts it back.
    pub(super) fn step(self) -> Step {
        Step { object: format!("map {}: {}", self.map, self.object), writes: self.writes }
    }

    /// The plan that puts it back.
    pub fn plan(&self) -> Plan {
        Plan { steps: vec![self.clone().step()], ..Plan::default() }
    }
}

/// What is not held, each with the write that takes it away.
pub fn foreign(held: &Held, entries: &Entries, maps: &impl ReadMaps) -> Vec<Finding> {
    let mut findings = Vec::new();
    for &(key, value) in &entries.frontends {
        // What is wrong with an address that is held is no matter here: the maps know it once,
        // whatever its kind.
        let frontend = convert::frontend_key(key);
        let is_held = frontend.is_some_and(|frontend| held.frontends.has_dialled(&frontend));
        if !is_held && !convert::is_self_test(key, value) {
            let write = Write::RemoveEntry { entry: Entry::Frontend(key) };
            let object = frontend.map_or_else(|| format!("{key:?}"), |f| named(&f));
            findings.push(Finding::new(key.map(), object, vec![write]));
        }
    }
    let known: BTreeSet<u32> = held.rows.values().map(|row| row.id).collect();
    for &(service, _) in entries.names.iter().filter(|(service, _)| !known.contains(service)) {
        let write = Write::RemoveName { service };
        findings.push(Finding::new("NAMES", format!("identifier {service}"), vec![write]));
    }
    let ranges = ranges(held);
    for &entry in entries.ranges.iter().filter(|entry| !ranges.contains(entry)) {
        let write = Write::RemoveEntry { entry: Entry::Range(entry) };
        findings.push(Finding::new("RANGES", named_range(entry), vec![write]));
    }
    let serving = serving(held);
    for &(service, backend) in entries.serving.iter().filter(|pair| !serving.contains(pair)) {
        let write = Write::RemoveServing { service, backend };
        findings.push(Finding::new("SERVING", named_serving(service, backend), vec![write]));
    }
    let known: HashSet<u32> = held.backends.values().copied().collect();
    for &(id, _) in &entries.backends {
        // One that is charged is named by open connections.
        if !known.contains(&id) && maps.active(id) == 0 {
            let write = Write::RemoveBackend { id };
            findings.push(Finding::new("BACKENDS", format!("identifier {id}"), vec![write]));
        }
    }
    findings
}

/// What `RANGES` should have.
pub fn ranges(held: &Held) -> BTreeSet<RangeEntry> {
    let of_row =
        |row: &HeldRow| row.ranges.iter().map(|range| convert::range(row.id, *range)).collect();
    held.rows.values().flat_map::<Vec<_>, _>(of_row).collect()
}

/// What `SERVING` should have.
pub fn serving(held: &Held) -> BTreeSet<(u32, u32)> {
    let of_row = |row: &HeldRow| row.serving.iter().map(|id| (row.id, *id)).collect();
    held.rows.values().flat_map::<Vec<_>, _>(of_row).collect()
}

/// A frontend, as messages name it.
pub fn named(frontend: &FrontendAddr) -> String {
    format!("{} over {}", frontend.addr, frontend.protocol)
}

/// A source range, as messages name it.
pub fn named_range(entry: RangeEntry) -> String {
    match convert::range_of(entry) {
        Some((service, range)) => format!("{range} of identifier {service}"),
        None => format!("{entry:?}"),
    }
}

/// A backend that serves, as messages name it.
pub fn named_serving(service: u32, backend: u32) -> String {
    format!("{backend} of identifier {service}")
}
