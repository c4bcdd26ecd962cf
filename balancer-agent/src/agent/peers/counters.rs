//! The rows of the maps and their counters, as the peers are told of them.

mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use balancer_common::{
    layout::{Level, MILLISECOND_NS, PAD_BACKEND},
    verdict::Verdict,
};

use self::rows::Rows;
use crate::{
    maps::{ClusterCounts, KeepSeats, MapsError, ReadMaps},
    moves::corrections::{Corrected, Corrections},
    peers::{name::ServiceId, node::Words, own::ServiceRows},
};

/// At every which look connections are found that came and went between two looks.
const TOTALS: u32 = 10;

/// Rows and counters of the maps that somebody may want to know. What has not changed costs a load
/// for each row and each backend.
pub struct Counters<M> {
    maps: M,
    rows: Rows,
    /// By identifier of the backend: open connections, and how many were ever opened.
    active: Vec<u32>,
    opened: Vec<u64>,
    /// Backends of rows that have changed, whose counters are told whether they have changed or
    /// not.
    untold: BTreeSet<u32>,
    looks: u32,
    /// What the counters don't say yet, and what of it was told last.
    corrections: Arc<Corrections>,
    corrected: BTreeMap<u32, i64>,
    /// How many connections this node had opened when it was looked for those that came and went.
    balanced: Option<u64>,
}

/// A counter that has changed.
pub struct Counted {
    /// Identifier of the backend.
    pub backend: u32,
    /// Open connections.
    pub active: u32,
    /// How many were ever opened.
    pub opened: u64,
}

/// What was seen of the counters.
pub struct Looked {
    /// Those that have changed.
    pub counted: Vec<Counted>,
    /// Answers of stewards that they include since the last look, by Service port: number, and how many
    /// permits were not used.
    pub settled: BTreeMap<ServiceId, (u32, u32)>,
}

impl<M: ReadMaps + ClusterCounts + KeepSeats> Counters<M> {
    /// Nothing is known yet.
    pub fn new(maps: M, corrections: Arc<Corrections>) -> Self {
        let rows = Rows::new(maps.limits().services);
        // The padding's counter never changes.
        let (active, opened) = (vec![maps.active(PAD_BACKEND)], vec![0]);
        Self {
            maps,
            rows,
            active,
            opened,
            untold: BTreeSet::new(),
            looks: 0,
            corrections,
            corrected: BTreeMap::new(),
            balanced: None,
        }
    }

    /// True if the rows were not read just now.
    pub fn may_renew(&self, now: Duration) -> bool {
        self.rows.may_renew(now)
    }

    /// True if the rows could not be read when this was tried last.
    pub const fn has_failed(&self) -> bool {
        self.rows.has_failed()
    }

    /// True once all rows were read. Their counters are given by the look that follows.
    pub const fn are_known(&self) -> bool {
        self.rows.are_known()
    }

    /// Reads the rows that have changed, and gives all rows of their Service ports.
    ///
    /// # Errors
    ///
    /// Where the maps can't be read; what was found is given the next time.
    pub fn renew(&mut self, now: Duration) -> Result<ServiceRows, MapsError> {
        let result = self.rows.renew(&self.maps, now);
        let read = self.rows.read();
        let most = read.last().map_or(0, |most| *most as usize + 1);
        if self.active.len() < most {
            self.active.resize(most, 0);
            self.opened.resize(most, 0);
        }
        self.untold.extend(read);
        result
    }

    /// Writes what follows from what the others have said. Programs believe it for 3 s from when it
    /// was said, not from now: a steward that falls silent is not believed longer because this node
    /// has opened connections since.
    pub fn write(&self, now: Duration, words: &Words) {
        for (backend, connections) in &words.others {
            self.maps.set_others(*backend, *connections);
        }
        for (row, level, told) in &words.levels {
            let age = now.saturating_sub(*told).as_nanos() / u128::from(MILLISECOND_NS);
            // 0 stands for no level.
            let fresh_ms = self.maps.now_ms().wrapping_sub(age as u32).max(1);
            let (floor, span) = (level.floor, level.span);
            self.maps.set_level(*row, Level { floor, span, fresh_ms });
        }
    }

    /// The counters that have changed, and those of rows that were read anew. What the mover has ended and is
    /// not closed yet is not counted, and a seat that it keeps is.
    pub fn look(&mut self) -> Looked {
        let mut told = std::mem::take(&mut self.untold);
        let Corrected { by, busy, settled } = self.corrections.look(&self.maps);
        told.extend(self.maps.changed_active(&mut self.active));
        for backend in by.keys().chain(self.corrected.keys()) {
            if by.get(backend) != self.corrected.get(backend) {
                told.insert(*backend);
            }
        }
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(TOTALS) {
            // None were opened where no program has balanced any.
            let balanced = self.maps.verdict(Verdict::Balanced).ok();
            if balanced.is_none() || balanced != self.balanced {
                self.balanced = balanced;
                let opened = (0..).zip(&self.opened);
                told.extend(
                    opened
                        .filter(|(id, seen)| self.maps.backend(*id).opened != **seen)
                        .map(|(id, _)| id),
                );
            }
        }
        // In the midst of moves nothing is said of these: half of it would be wrong.
        let (untold, mut told): (BTreeSet<_>, BTreeSet<_>) =
            told.into_iter().partition(|backend| busy.contains(backend));
        self.untold = untold;
        // What is no longer in any row is nobody's business.
        told.retain(|backend| (*backend as usize) < self.active.len());
        let counted = told.into_iter().map(|backend| {
            let (active, opened) = (self.maps.active(backend), self.maps.backend(backend).opened);
            (self.active[backend as usize], self.opened[backend as usize]) = (active, opened);
            let by = by.get(&backend).copied().unwrap_or_default();
            let active = u32::try_from((i64::from(active) + by).max(0)).unwrap_or(u32::MAX);
            Counted { backend, active, opened }
        });
        let counted = counted.collect();
        self.corrected = by;
        Looked { counted, settled }
    }
}

#[cfg(test)]
mod tests;
