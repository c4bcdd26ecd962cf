//! What the log tells of changes: each for those who debug, and a line a minute for everybody. A
//! cluster of rolling updates has fifty changes a second.

use std::time::{Duration, Instant};

/// How often a line comes at most.
const EVERY: Duration = Duration::from_secs(60);

/// A change that is in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Service ports that are balanced now.
    pub services: usize,
    /// Rows that were planned.
    pub rows: usize,
    /// Writes to the maps.
    pub writes: usize,
    /// Since the change had arrived.
    pub took: Duration,
    /// Of which writing to the maps.
    pub writing: Duration,
}

/// Changes since they were told last.
#[derive(Debug, Default)]
pub struct Sums {
    told: Option<Instant>,
    changes: usize,
    rows: usize,
    writes: usize,
    longest: Duration,
    services: usize,
}

impl Sums {
    /// Takes a change.
    pub fn add(&mut self, change: Written) {
        let Written { services, rows, writes, took, writing } = change;
        tracing::debug!(
            services,
            rows,
            writes,
            micros = took.as_micros() as u64,
            of_which_writing = writing.as_micros() as u64,
            "maps are up to date"
        );
        self.changes += 1;
        self.rows += rows;
        self.writes += writes;
        self.longest = self.longest.max(took);
        self.services = services;
    }

    /// Logs the sums, if there are any and the last line is a minute old.
    pub fn tell(&mut self, now: Instant) {
        let is_due = |told| now.saturating_duration_since(told) >= EVERY;
        if self.told.is_none_or(is_due) && self.end() {
            self.told = Some(now);
        }
    }

    /// Logs the sums, if there are any, and returns whether there were.
    pub fn end(&mut self) -> bool {
        if self.changes == 0 {
            return false;
        }
        let Self { changes, rows, writes, longest, services, .. } = *self;
        let longest_micros = longest.as_micros() as u64;
        tracing::info!(services, changes, rows, writes, longest_micros, "maps follow the source");
        *self = Self { told: self.told, ..Self::default() };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logged;

    #[test]
    fn a_minute_of_changes_is_one_line_with_their_sums() {
        let change = |micros| Written {
            services: 7,
            rows: 2,
            writes: 3,
            took: Duration::from_micros(micros),
            writing: Duration::from_micros(1),
        };
        let start = Instant::now();
        let mut sums = Sums::default();
        let first = logged(|| {
            sums.tell(start);
            sums.add(change(5));
            sums.tell(start);
        });
        let want = " INFO maps follow the source services=7 changes=1 rows=2 writes=3 \
                    longest_micros=5\n";
        assert_eq!(first, want, "the first at once");
        let minute = logged(|| {
            for second in 0..3_000 {
                sums.add(change(second));
                sums.tell(start + Duration::from_millis(second * 20));
            }
            sums.tell(start + EVERY);
            sums.tell(start + 2 * EVERY);
        });
        let want = " INFO maps follow the source services=7 changes=3000 rows=6000 writes=9000 \
                    longest_micros=2999\n";
        assert_eq!(minute, want);
    }
}
