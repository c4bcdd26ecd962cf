//! What follows for the rows of this node, each time something new is known.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashMap, HashSet},
};

use super::Node;
use crate::{
    desired::BackendAddr,
    peers::{
        Moment,
        level::{Filling, RowCounts, level},
        name::ServiceId,
        own::{Row, ServiceRows},
        pace,
        permits::shape,
    },
};

/// What is to be written to the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Backends by identifier, and the connections that all other nodes have to them.
    pub others: Vec<(u32, u32)>,
    /// Rows by identifier, their level, and when what it rests on was told.
    pub levels: Vec<(u32, Filling, Moment)>,
}

/// Rows, and what was written of them last.
#[derive(Debug, Default)]
pub struct Levels {
    rows: HashMap<ServiceId, Vec<Known>>,
    others: HashMap<u32, (BackendAddr, u32)>,
    /// The Service port of each row.
    services: HashMap<u32, ServiceId>,
    /// When the rows of a Service port were written last.
    written: HashMap<ServiceId, Moment>,
    /// Service ports of which something is new.
    due: BTreeSet<ServiceId>,
}

/// A row, and the hash of its backends once somebody has asked for it.
#[derive(Debug)]
pub struct Known {
    pub row: Row,
    shape: OnceCell<u64>,
}

impl Known {
    /// What questions about rows with these backends have in common.
    pub fn shape(&self) -> u64 {
        *self.shape.get_or_init(|| shape(self.row.backends.iter().map(|backend| backend.addr)))
    }
}

impl Levels {
    /// Takes the rows of some Service ports; one without rows is gone.
    pub fn change_rows(&mut self, rows: ServiceRows) {
        for (service, rows) in rows {
            // What is written of a new row or backend is not known.
            for backend in rows.iter().flat_map(|row| &row.backends) {
                self.others.remove(&backend.id);
            }
            for Known { row, .. } in self.rows.get(&service).into_iter().flatten() {
                self.services.remove(&row.id);
            }
            self.services.extend(rows.iter().map(|row| (row.id, service)));
            if rows.is_empty() {
                self.rows.remove(&service);
                self.written.remove(&service);
                self.due.remove(&service);
            } else {
                let known = |row| Known { row, shape: OnceCell::new() };
                self.rows.insert(service, rows.into_iter().map(known).collect());
                self.due.insert(service);
            }
        }
    }

    /// The Service port of a row.
    pub fn service_of(&self, row: u32) -> Option<ServiceId> {
        self.services.get(&row).copied()
    }

    /// A row by its identifier.
    pub fn row(&self, id: u32) -> Option<&Known> {
        self.rows_of(self.service_of(id)?).iter().find(|known| known.row.id == id)
    }

    /// The rows of a Service port.
    pub fn rows_of(&self, service: ServiceId) -> &[Known] {
        self.rows.get(&service).map_or(&[], Vec::as_slice)
    }
}

impl Node {
    /// What is to be written to the maps now. Each call gives it once.
    pub fn words(&mut self, now: Moment) -> Words {
        let mut words = Words::default();
        let news = self.known.news();
        self.levels.due.extend(&news);
        // The level follows this node's own connections, too.
        let own = self.own.changed();
        self.levels.due.extend(own);
        let due: Vec<_> = self.levels.due.iter().copied().collect();
        for service in due {
            // What others have said is no more often new than they may speak, and somebody may dial now.
            let written = self.levels.written.get(&service).filter(|_| !news.contains(&service));
            if written.is_some_and(|at| *at + pace::LEVEL > now) {
                continue;
            }
            self.levels.due.remove(&service);
            if self.write(now, service, &mut words) {
                self.levels.written.insert(service, now);
            }
        }
        words
    }

    /// What all others have to a backend of some Service ports; none where nobody told. Each of
    /// their stewards sums what the nodes have that know the backend by that Service port, so that
    /// the one who says most leaves out fewest.
    pub(super) fn others(
        &self,
        now: Moment,
        services: &[ServiceId],
        backend: &BackendAddr,
    ) -> Option<u32> {
        let told = services.iter().filter_map(|service| self.known.told(now, *service));
        told.map(|told| told.others(backend)).max()
    }

    /// The words of the rows of a Service port; false where nothing was told that counts.
    fn write(&mut self, now: Moment, service: ServiceId, words: &mut Words) -> bool {
        let Some(told) = self.known.told(now, service) else { return false };
        let Some(rows) = self.levels.rows.get(&service) else { return false };
        let left = self.own.left(now, service);
        let returning =
            left.iter().map(|(addr, own)| u64::from(*own) + u64::from(told.others(addr)));
        let returning = returning.sum();
        // Rows of other nodes may have backends that this one's have not.
        let mut all: HashSet<_> = told.backends().copied().collect();
        for (addr, _) in &left {
            all.remove(addr);
        }
        let backends = rows.iter().flat_map(|known| &known.row.backends);
        all.extend(backends.map(|backend| backend.addr));
        let of = all.len();
        let mut estimates = Vec::new();
        for Known { row, .. } in rows {
            estimates.clear();
            for backend in &row.backends {
                let services = self.own.services_of(backend.id);
                let others = self.others(now, services, &backend.addr).unwrap_or(0);
                let own = self.own.active(backend.id);
                estimates.push((own.saturating_add(others), backend.weight));
                let word = (backend.addr, others);
                if self.levels.others.insert(backend.id, word) != Some(word) {
                    words.others.push((backend.id, others));
                    let sharing = services.iter().filter(|id| **id != service);
                    self.levels.due.extend(sharing);
                }
            }
            let (weighted, rate, interval) = (row.weighted, told.rate, told.interval);
            let backends = &estimates[..];
            let known = RowCounts { backends, weighted, rate, interval, of, returning };
            words.levels.extend(level(&known).map(|level| (row.id, level, told.at)));
        }
        true
    }
}
