//! What the maps hold, read back into plain types.
//!
//! Everything that the agent needs to go on after a restart is here.

use std::collections::{BTreeMap, BTreeSet};

use balancer_common::layout::{Backend, RESTRICTED, Row, SLOT_WORDS};
use ipnet::IpNet;

use super::leading::{HeldFrontend, Leading};
use crate::{
    desired::BackendAddr,
    maps::{MapsError, ReadMaps, Settings, convert, identity::RowId},
};

/// One row in the maps, with what is known of its Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Its identifier.
    pub id: u32,
    /// `spec.ports[].port`.
    pub number: u16,
    /// Where its slots are.
    pub row: Row,
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
    pub fn read(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        let mut held = Self::default();
        let mut ranges: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
        for (service, range) in maps.ranges()? {
            ranges.entry(service).or_default().insert(range);
        }
        let mut serving: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (service, backend) in maps.serving()? {
            serving.entry(service).or_default().push(backend);
        }
        for (id, name) in maps.names()? {
            let Some(found) = convert::row_id(&name) else { continue };
            let row = maps.row(id);
            let slots = slots(row).map(|index| maps.slot(index));
            let mut backends: Vec<_> = slots.map(|slot| (slot.backend, slot.weight)).collect();
            backends.sort_unstable();
            let mut serving = serving.remove(&id).unwrap_or_default();
            serving.sort_unstable();
            let settings = maps.settings(id);
            let ranges = ranges.remove(&id).unwrap_or_default();
            let row = HeldRow { id, number: name.port, row, backends, serving, settings, ranges };
            held.rows.insert(found, row);
        }
        for (key, value) in maps.frontends()? {
            if let Some(frontend) = convert::frontend_addr(key, value) {
                let restricted = value.kind & RESTRICTED != 0;
                let leads = HeldFrontend { service: value.service, restricted };
                held.frontends.insert(frontend, leads);
            }
        }
        for (id, entry) in backends(maps) {
            if let Some(backend) = convert::backend_addr(&entry) {
                held.backends.insert(backend, id);
            }
        }
        Ok(held)
    }
}

/// The slots of a row, without padding. None lies outside of the slab, whatever others have written
/// in its place.
pub fn slots(row: Row) -> impl Iterator<Item = u32> {
    row.base..(row.base + row.len).min(SLOT_WORDS as u32)
}

/// Every backend that is in use, with its identifier.
pub fn backends(maps: &impl ReadMaps) -> impl Iterator<Item = (u32, Backend)> {
    (1..maps.limits().backends)
        .map(|id| (id, maps.backend(id)))
        .filter(|(_, entry)| entry.in_use != 0)
}
