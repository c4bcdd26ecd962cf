//! The rows of the maps. What has not changed costs a load a row.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    maps::{MapsError, ReadMaps, convert, identity::RowId},
    peers::{
        name::ServiceId,
        own::{Row, RowBackend, ServiceRows},
    },
};

/// Least time between two looks at all rows: changes come in bursts.
pub const RENEW: Duration = Duration::from_millis(200);
/// Most time between two looks where the maps can't be read; it doubles from one to the next.
const MOST_RENEW: Duration = Duration::from_secs(10);

/// Rows of the maps that somebody may want to know.
pub struct Rows {
    rows: BTreeMap<u32, Row>,
    /// What the maps had last for every identifier of a row, in use or not.
    words: Vec<(u64, bool)>,
    /// Rows of each Service port.
    of: BTreeMap<ServiceId, BTreeSet<u32>>,
    /// Service ports whose rows have changed since they were given.
    changed: BTreeSet<ServiceId>,
    /// Backends of rows that were read and not asked for yet.
    read: BTreeSet<u32>,
    /// When they were read last, and whether they ever were.
    renewed: Option<Duration>,
    /// When they may be read again, and after which pause where that fails once more.
    renew_at: Duration,
    pause: Option<Duration>,
}

impl Rows {
    /// Of maps with room for so many Service ports. Nothing is known yet.
    pub fn new(services: u32) -> Self {
        Self {
            rows: BTreeMap::new(),
            words: vec![(0, false); services as usize],
            of: BTreeMap::new(),
            changed: BTreeSet::new(),
            read: BTreeSet::new(),
            renewed: None,
            renew_at: Duration::ZERO,
            pause: None,
        }
    }

    /// True if the rows were not read just now.
    pub fn may_renew(&self, now: Duration) -> bool {
        self.renew_at <= now
    }

    /// True if the rows could not be read when this was tried last.
    pub const fn has_failed(&self) -> bool {
        self.pause.is_some()
    }

    /// True once all rows were read. Their counters are given by the look that follows.
    pub const fn are_known(&self) -> bool {
        self.renewed.is_some()
    }

    /// Backends of rows that were read since this was asked last.
    pub fn read(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.read)
    }

    /// Reads the rows that have changed, and gives all rows of their Service ports.
    ///
    /// # Errors
    ///
    /// Where the maps can't be read; what was found is given the next time.
    pub fn renew(&mut self, maps: &impl ReadMaps, now: Duration) -> Result<ServiceRows, MapsError> {
        let result = self.read_all(maps, now);
        let failed = || self.pause.map_or(RENEW, |pause| (2 * pause).min(MOST_RENEW));
        self.pause = result.is_err().then(failed);
        self.renew_at = now + self.pause.unwrap_or(RENEW);
        result
    }

    fn read_all(&mut self, maps: &impl ReadMaps, now: Duration) -> Result<ServiceRows, MapsError> {
        if self.renewed.is_none() {
            // An agent with larger capacities may have left rows beyond those of this one.
            let named = maps.names()?.iter().map(|(id, _)| *id as usize + 1).max();
            let most = self.words.len().max(named.unwrap_or(0));
            self.words.resize(most, (0, false));
        }
        for id in 0..self.words.len() as u32 {
            let found = match maps.row_word(id) {
                0 => (0, false),
                word => (word, maps.settings(id).weighs()),
            };
            // A row is emptied before its name goes, and it gets a name before it is written.
            let is_empty = || self.rows.get(&id).is_some_and(|row| row.backends.is_empty());
            if self.words[id as usize] != found || is_empty() {
                self.read_one(maps, id)?;
                self.words[id as usize] = found;
            }
        }
        self.renewed = Some(now);
        let changed = std::mem::take(&mut self.changed);
        let rows = changed.into_iter().map(|service| {
            let ids = self.of.get(&service).into_iter().flatten();
            (service, ids.filter_map(|id| self.rows.get(id)).cloned().collect())
        });
        Ok(rows.collect())
    }

    /// Reads a row.
    fn read_one(&mut self, maps: &impl ReadMaps, id: u32) -> Result<(), MapsError> {
        let name = maps.name(id)?.and_then(|name| convert::row_id(&name));
        let found = name.map(|RowId { port, family, .. }| {
            let row = maps.row(id);
            let backends = maps.slots(row).filter_map(|slot| {
                let addr = convert::backend_addr(&maps.backend(slot.backend))?;
                Some(RowBackend { id: slot.backend, addr, weight: slot.weight })
            });
            Row {
                id,
                service: ServiceId::of(&port, family),
                weighted: maps.settings(id).weighs(),
                backends: backends.collect(),
            }
        });
        let is_empty = found.as_ref().is_none_or(|row| row.backends.is_empty());
        if is_empty && self.rows.get(&id) == found.as_ref() {
            return Ok(());
        }
        if let Some(before) = self.rows.remove(&id) {
            let service = before.service;
            self.changed.insert(service);
            if let Some(ids) = self.of.get_mut(&service) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.of.remove(&service);
                }
            }
        }
        if let Some(found) = found {
            let service = found.service;
            self.changed.insert(service);
            self.of.entry(service).or_default().insert(id);
            self.read.extend(found.backends.iter().map(|backend| backend.id));
            self.rows.insert(id, found);
        }
        Ok(())
    }
}
