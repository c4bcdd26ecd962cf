//! What the maps hold, read back into plain types.
//!
//! Everything that the agent needs to go on after a restart is here.

use std::collections::{BTreeMap, BTreeSet, HashSet, btree_map::Entry};

use balancer_common::layout::{MAX_SLOTS, RESTRICTED, Row, Slot};
use ipnet::IpNet;

use super::{
    entries::Entries,
    leading::{HeldFrontend, Leading},
};
use crate::{
    desired::BackendAddr,
    maps::{ReadMaps, Settings, convert, identity::RowId},
};

/// One row in the maps, with what is known of its Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Its identifier.
    pub id: u32,
    /// `spec.ports[].port`.
    pub number: u16,
    /// Where its slots are; none where no agent has written what stands there.
    pub row: Option<Row>,
    /// Identifiers of the backends of the row and their weights, sorted.
    pub backends: Vec<(u32, u16)>,
    /// Identifiers of backends beside these that flows stay with, sorted.
    pub serving: Vec<u32>,
    /// How one of them is chosen.
    pub settings: Settings,
    /// Clients that may use its restricted frontends.
    pub ranges: BTreeSet<IpNet>,
}

/// What the maps hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Rows.
    pub rows: BTreeMap<RowId, HeldRow>,
    /// Captured addresses and where they lead.
    pub frontends: Leading,
    /// Backends, also those that no row names any more, and their identifiers.
    pub backends: BTreeMap<BackendAddr, u32>,
}

impl Held {
    /// Reads the maps.
    #[cfg(test)]
    pub(crate) fn read(maps: &impl ReadMaps) -> Result<Self, crate::maps::MapsError> {
        Ok(Self::of(&Entries::read(maps)?, maps))
    }

    /// What was meant by entries and by what stands in the arrays. What others have written between
    /// it is left out: nothing is held twice, and what is held names nothing that is not.
    pub fn of(entries: &Entries, maps: &impl ReadMaps) -> Self {
        let mut held = Self::default();
        let mut known = HashSet::new();
        for &(id, ref entry) in &entries.backends {
            let Some(backend) = convert::backend_addr(entry) else { continue };
            // Of two with one address the one that is charged counts.
            let counts = |other: &u32| maps.active(id) > 0 && maps.active(*other) == 0;
            if held.backends.get(&backend).is_none_or(counts) {
                known.insert(id);
                if let Some(other) = held.backends.insert(backend, id) {
                    known.remove(&other);
                }
            }
        }
        for &(key, value) in &entries.frontends {
            if let Some(frontend) = convert::frontend_addr(key, value) {
                let restricted = value.kind & RESTRICTED != 0;
                let leads = HeldFrontend { service: value.service, restricted };
                held.frontends.insert(frontend, leads);
            } else if let Some(frontend) = convert::frontend_key(key)
                && !convert::is_self_test(key, value)
            {
                held.frontends.insert(frontend, HeldFrontend::NOWHERE);
            }
        }
        let mut ranges: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
        for &entry in &entries.ranges {
            // What differs behind the prefix is another entry for whoever compares, and the same
            // one for the map.
            if let Some((service, range)) = convert::range_of(entry)
                && convert::range(service, range) == entry
            {
                ranges.entry(service).or_default().insert(range);
            }
        }
        let mut serving: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &(service, backend) in entries.serving.iter().filter(|pair| known.contains(&pair.1)) {
            serving.entry(service).or_default().push(backend);
        }
        let mut names = entries.names.clone();
        names.retain(|(id, _)| *id < maps.services());
        names.sort_unstable_by_key(|(id, _)| *id);
        let mut taken = BTreeMap::new();
        for (id, name) in names {
            let Some(found) = convert::row_id(&name) else { continue };
            let Entry::Vacant(vacant) = held.rows.entry(found) else { continue };
            let (row, backends) = read_row(maps, id, &known, &mut taken);
            let mut serving = serving.remove(&id).unwrap_or_default();
            serving.sort_unstable();
            let settings = maps.settings(id);
            let ranges = ranges.remove(&id).unwrap_or_default();
            let number = name.port;
            vacant.insert(HeldRow { id, number, row, backends, serving, settings, ranges });
        }
        held
    }
}

/// A row and its backends, sorted. No row where it is not one that an agent has written: it reaches
/// out of the slab, shares slots with another one, or its slots are not backends that are known,
/// and padding.
fn read_row(
    maps: &impl ReadMaps,
    service: u32,
    known: &HashSet<u32>,
    taken: &mut BTreeMap<u32, u32>,
) -> (Option<Row>, Vec<(u32, u16)>) {
    let row = maps.row(service);
    if row.len == 0 {
        return ([Row::EMPTY, Row::NOT_LOCAL].contains(&row).then_some(row), Vec::new());
    }
    let end = row.base + Row::width(row.len);
    let overlaps = taken.range(..end).next_back().is_some_and(|(_, past)| *past > row.base);
    if end > MAX_SLOTS || overlaps {
        return (None, Vec::new());
    }
    taken.insert(row.base, end);
    let slots = maps.slots(row).map(|slot| (slot.backend, slot.weight));
    let mut backends: Vec<_> = slots.filter(|(id, _)| known.contains(id)).collect();
    backends.sort_unstable();
    let mut padding = row.base + row.len..end;
    let is_sound =
        backends.len() == row.len as usize && padding.all(|index| maps.slot(index) == Slot::PAD);
    (is_sound.then_some(row), backends)
}
