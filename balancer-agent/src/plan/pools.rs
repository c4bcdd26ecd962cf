//! Identifiers and slots that are free.

use std::collections::BTreeSet;

use balancer_common::layout::{MAX_SLOTS, Row};

use super::{held::Held, rows::RowId};
use crate::{maps::Limits, model::Problem};

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No identifier for a Service port.
    Services(u32),
    /// No identifier for a backend.
    Backends(u32),
    /// No run of slots that is long enough.
    Slots(u32),
}

impl Full {
    /// The words for a row that does not fit.
    pub fn problem(self, row: &RowId) -> Problem {
        let (what, flag, limit) = match self {
            Self::Services(limit) => ("Service ports", "--max-services", limit),
            Self::Backends(limit) => ("backends", "--max-backends", limit),
            Self::Slots(limit) => ("slots", "--max-slots", limit),
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

/// How far the pools have been used; see [`Pools::mark`].
#[derive(Clone, Copy)]
pub struct Mark {
    services: usize,
    backends: usize,
}

/// Free identifiers and slots.
pub struct Pools {
    limits: Limits,
    services: Vec<u32>,
    backends: Vec<u32>,
    used: Mark,
    /// Free runs of slots: first, and one past the last.
    runs: Vec<(u32, u32)>,
}

impl Pools {
    /// What is left beside the rows that are held, and the given backends.
    pub fn new(held: &Held, backends: &BTreeSet<u32>, limits: Limits) -> Self {
        let services: BTreeSet<_> = held.rows.values().map(|held| held.id).collect();
        Self {
            limits,
            services: (0..limits.services).filter(|id| !services.contains(id)).collect(),
            // Identifier 0 pads rows.
            backends: (1..limits.backends).filter(|id| !backends.contains(id)).collect(),
            used: Mark { services: 0, backends: 0 },
            runs: free_runs(held.rows.values().map(|held| held.row), limits.slots.min(MAX_SLOTS)),
        }
    }

    /// Remembers how far identifiers have been given out.
    pub const fn mark(&self) -> Mark {
        self.used
    }

    /// Takes back every identifier that was given out since the mark.
    pub const fn reset(&mut self, mark: Mark) {
        self.used = mark;
    }

    /// An identifier for a Service port.
    pub fn service(&mut self) -> Result<u32, Full> {
        let id = self.services.get(self.used.services);
        let id = *id.ok_or(Full::Services(self.limits.services))?;
        self.used.services += 1;
        Ok(id)
    }

    /// An identifier for a backend.
    pub fn backend(&mut self) -> Result<u32, Full> {
        let id = self.backends.get(self.used.backends);
        let id = *id.ok_or(Full::Backends(self.limits.backends - 1))?;
        self.used.backends += 1;
        Ok(id)
    }

    /// Room for a row of `len` backends, at least one: the first run that is long enough.
    pub fn row(&mut self, len: u32) -> Result<Row, Full> {
        let width = Row::width(len);
        let fits = self.runs.iter_mut().find(|(start, end)| end - start >= width);
        let (start, _) = fits.ok_or(Full::Slots(self.limits.slots))?;
        let row = Row { base: *start, len };
        *start += width;
        // Rows of one Service after another: keep the front of the list short.
        if self.runs.first().is_some_and(|(start, end)| start == end) {
            self.runs.remove(0);
        }
        Ok(row)
    }
}

/// The runs between rows.
fn free_runs(rows: impl Iterator<Item = Row>, slots: u32) -> Vec<(u32, u32)> {
    let mut taken: Vec<_> = rows
        .filter(|row| row.len > 0)
        .map(|row| (row.base, row.base + Row::width(row.len)))
        .collect();
    taken.sort_unstable();
    let mut runs = Vec::new();
    let mut at = 0;
    for (start, end) in taken {
        if start > at {
            runs.push((at, start));
        }
        at = at.max(end);
    }
    if slots > at {
        runs.push((at, slots));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_what_lies_between_rows() {
        let rows = [Row { base: 16, len: 3 }, Row { base: 0, len: 8 }, Row { base: 0, len: 0 }];
        assert_eq!(free_runs(rows.into_iter(), 32), [(8, 16), (24, 32)]);
        assert_eq!(free_runs([].into_iter(), 32), [(0, 32)]);
    }
}
