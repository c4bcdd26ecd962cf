//! Identifiers and slots that are free.

use std::collections::BTreeMap;

use balancer_common::layout::{MAX_SLOTS, Row};

use crate::{
    maps::{Limits, identity::RowId},
    model::Problem,
};

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No identifier for a Service port.
    Services(u32),
    /// No identifier for a backend.
    Backends(u32),
    /// No run of slots that is long enough.
    Slots(u32),
    /// No entry for an address that is dialled.
    Frontends(u32),
}

impl Full {
    /// The words for a row that does not fit.
    pub fn problem(self, row: &RowId) -> Problem {
        let (what, flag, limit) = match self {
            Self::Services(limit) => ("Service ports", "--max-services", limit),
            Self::Backends(limit) => ("backends", "--max-backends", limit),
            Self::Slots(limit) => ("slots", "--max-slots", limit),
            // Their number follows that of Service ports.
            Self::Frontends(limit) => ("addresses of each family", "--max-services", limit),
        };
        Problem {
            object: format!("Service {row}"),
            field: String::new(),
            message: format!(
                "does not fit into the maps, which hold {limit} {what}, and is left to \
                 kube-proxy; start the agent with a larger {flag}"
            ),
        }
    }
}

/// Free identifiers and slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pools {
    limits: Limits,
    services: Runs,
    backends: Runs,
    slots: Runs,
}

impl Pools {
    /// What is left beside those that are taken.
    pub fn new(
        limits: Limits,
        services: impl IntoIterator<Item = u32>,
        backends: impl IntoIterator<Item = u32>,
        rows: impl IntoIterator<Item = Row>,
    ) -> Self {
        let one = |id: u32| (id, id.saturating_add(1));
        let rows = rows.into_iter().filter(|row| row.len > 0);
        Self {
            limits,
            services: Runs::between(services.into_iter().map(one), 0, limits.services),
            // Identifier 0 pads rows.
            backends: Runs::between(backends.into_iter().map(one), 1, limits.backends),
            slots: Runs::between(
                rows.map(|row| (row.base, row.base + Row::width(row.len))),
                0,
                limits.slots.min(MAX_SLOTS),
            ),
        }
    }

    /// An identifier for a Service port.
    pub fn service(&mut self) -> Result<u32, Full> {
        self.services.take(1).ok_or(Full::Services(self.limits.services))
    }

    /// Takes an identifier of a Service port back.
    pub fn give_service(&mut self, id: u32) {
        self.services.give(id, 1);
    }

    /// An identifier for a backend.
    pub fn backend(&mut self) -> Result<u32, Full> {
        self.backends.take(1).ok_or(Full::Backends(self.limits.backends - 1))
    }

    /// Takes an identifier of a backend back.
    pub fn give_backend(&mut self, id: u32) {
        self.backends.give(id, 1);
    }

    /// Room for a row of `len` backends, at least one: the first run that is long enough.
    pub fn row(&mut self, len: u32) -> Result<Row, Full> {
        let base = self.slots.take(Row::width(len)).ok_or(Full::Slots(self.limits.slots))?;
        Ok(Row { base, len })
    }

    /// Takes what is free of the room of a row that may be any; the runs, start and width.
    pub fn reserve(&mut self, row: Row) -> Vec<(u32, u32)> {
        self.slots.take_all(row.base, row.base + Row::width(row.len))
    }

    /// Takes such a run back.
    pub fn give_slots(&mut self, start: u32, width: u32) {
        self.slots.give(start, width);
    }

    /// How many frontends of each family the maps hold at most.
    pub const fn frontends(&self) -> u32 {
        self.limits.frontends
    }

    /// That there are so many already.
    pub const fn no_frontends(&self) -> Full {
        Full::Frontends(self.limits.frontends)
    }

    /// Takes the room of a row back.
    pub fn give_row(&mut self, row: Row) {
        if row.len > 0 {
            self.slots.give(row.base, Row::width(row.len));
        }
    }
}

/// Free runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Runs {
    /// One past the last by the first.
    free: BTreeMap<u32, u32>,
    /// What is beyond was taken with a larger limit, and is never given out again.
    limit: u32,
}

impl Runs {
    /// The runs from `first` to `end` between those that are taken.
    fn between(taken: impl Iterator<Item = (u32, u32)>, first: u32, end: u32) -> Self {
        let mut taken: Vec<_> = taken.collect();
        taken.sort_unstable();
        let mut runs = BTreeMap::new();
        let mut at = first;
        for (start, past) in taken {
            let until = start.min(end);
            if until > at {
                runs.insert(at, until);
            }
            at = at.max(past);
        }
        if end > at {
            runs.insert(at, end);
        }
        Self { free: runs, limit: end }
    }

    /// The first of `width` in a row.
    fn take(&mut self, width: u32) -> Option<u32> {
        let (&start, &end) = self.free.iter().find(|(start, end)| *end - *start >= width)?;
        self.free.remove(&start);
        if start + width < end {
            self.free.insert(start + width, end);
        }
        Some(start)
    }

    /// Takes what is free from `start` to `end`; the runs, start and width.
    fn take_all(&mut self, start: u32, end: u32) -> Vec<(u32, u32)> {
        if start >= end {
            return Vec::new();
        }
        let overlaps = |(from, past): (&u32, &u32)| (*past > start).then_some((*from, *past));
        let found: Vec<_> = self.free.range(..end).filter_map(overlaps).collect();
        let mut taken = Vec::new();
        for (from, past) in found {
            self.free.remove(&from);
            if from < start {
                self.free.insert(from, start);
            }
            if past > end {
                self.free.insert(end, past);
            }
            let first = from.max(start);
            taken.push((first, past.min(end) - first));
        }
        taken
    }

    /// Takes back what [`Runs::take`] gave.
    fn give(&mut self, start: u32, width: u32) {
        let mut run = (start, start.saturating_add(width).min(self.limit));
        if run.0 >= run.1 {
            return;
        }
        if let Some((&before, &end)) = self.free.range(..start).next_back()
            && end == start
        {
            self.free.remove(&before);
            run.0 = before;
        }
        if let Some(end) = self.free.remove(&run.1) {
            run.1 = end;
        }
        self.free.insert(run.0, run.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_what_lies_between() {
        let runs = |taken: &[(u32, u32)]| {
            Runs::between(taken.iter().copied(), 0, 32).free.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(runs(&[(16, 24), (0, 8)]), [(8, 16), (24, 32)]);
        assert_eq!(runs(&[]), [(0, 32)]);
        assert_eq!(runs(&[(0, 32)]), []);
        assert_eq!(runs(&[(0, 8), (40, 48), (50, 52)]), [(8, 32)], "made with a larger limit");
    }

    #[test]
    fn what_is_free_of_any_stretch_is_taken() {
        let all = || Runs::between([(8, 12)].into_iter(), 0, 32);
        for (start, end, want) in [
            (0, 4, vec![(0, 4)]),
            (6, 14, vec![(6, 2), (12, 2)]),
            (9, 11, vec![]),
            (1, 1, vec![]),
            (30, 90, vec![(30, 2)]),
            (0, 90, vec![(0, 8), (12, 20)]),
        ] {
            let mut runs = all();
            let taken = runs.take_all(start, end);
            assert_eq!(taken, want, "{start} {end}");
            assert_eq!(runs.take_all(start, end), [], "{start} {end}");
            for (start, width) in taken {
                runs.give(start, width);
            }
            assert_eq!(runs, all(), "{start} {end}");
        }
    }

    #[test]
    fn what_is_given_back_joins_its_neighbours() {
        let mut runs = Runs::between(std::iter::empty(), 0, 32);
        let taken = [4, 8, 4, 16].map(|width| runs.take(width));
        assert_eq!(taken, [Some(0), Some(4), Some(12), Some(16)]);
        assert_eq!(runs.take(1), None);
        for (start, width) in [(0, 4), (12, 4), (4, 8), (16, 16)] {
            runs.give(start, width);
        }
        let all = Runs { free: BTreeMap::from([(0, 32)]), limit: 32 };
        assert_eq!(runs, all);
        // Taken with a larger limit.
        for (start, width) in [(32, 4), (40, 1)] {
            runs.give(start, width);
        }
        assert_eq!(runs, all);
        assert_eq!(runs.take(32), Some(0));
        runs.give(28, 8);
        assert_eq!(runs.take(5), None);
        assert_eq!(runs.take(4), Some(28));
    }
}
