//! What the counters of this node don't say yet of what the mover has done, for those who tell other nodes:
//! connections that were ended and whose charge still stands, and seats that wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use balancer_common::charge;

use crate::{
    maps::{KeepSeats, ReadMaps},
    peers::name::ServiceId,
};

/// What the mover tells.
#[derive(Debug, Default)]
pub struct Corrections(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Charges of connections that were ended: index and word.
    ended: Vec<(u32, u64)>,
    /// Rows that may have seats.
    seated: BTreeSet<u32>,
    /// Backends from or to which connections are moved in this moment.
    busy: BTreeSet<u32>,
    /// Answers that were carried out, by Service port: their number, and how many permits were not used.
    settled: BTreeMap<ServiceId, (u32, u32)>,
}

/// What follows for the counters, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrected {
    /// What is to be added to the counter of a backend.
    pub by: BTreeMap<u32, i64>,
    /// Backends whose counters say nothing in this moment.
    pub busy: BTreeSet<u32>,
    /// Answers that the counters include since this was asked last.
    pub settled: BTreeMap<ServiceId, (u32, u32)>,
}

impl Corrections {
    /// Connections from or to these backends are about to be ended. What is said of them waits, for as long
    /// as some are ended and others are not.
    pub fn begin(&self, backends: BTreeSet<u32>) {
        self.with(|inner| inner.busy = backends);
    }

    /// That is over. `ended` are the charges of all connections that were ever ended and may stand, `seated`
    /// the rows that may have seats.
    pub fn finish(
        &self,
        ended: Vec<(u32, u64)>,
        seated: BTreeSet<u32>,
        settled: impl IntoIterator<Item = (ServiceId, (u32, u32))>,
    ) {
        self.with(|inner| {
            (inner.ended, inner.seated) = (ended, seated);
            inner.busy.clear();
            inner.settled.extend(settled);
        });
    }

    /// What follows for the counters.
    pub fn look(&self, maps: &(impl ReadMaps + KeepSeats)) -> Corrected {
        self.with(|inner| {
            let mut by: BTreeMap<u32, i64> = BTreeMap::new();
            for (_, word) in inner.ended.iter().filter(|(index, word)| maps.charge(*index) == *word)
            {
                *by.entry(charge::backend_of(*word)).or_default() -= 1;
            }
            for (backend, count) in inner.seated.iter().flat_map(|row| maps.seats(*row)) {
                *by.entry(backend).or_default() += i64::from(count);
            }
            // Who settles must have the counters that belong to it.
            let settled = if inner.busy.is_empty() {
                std::mem::take(&mut inner.settled)
            } else {
                BTreeMap::new()
            };
            Corrected { by, busy: inner.busy.clone(), settled }
        })
    }

    fn with<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps::{Limits, in_memory::InMemoryMaps};

    const LIMITS: Limits = Limits { services: 4, frontends: 4, backends: 8, slots: 16 };

    #[test]
    fn seats_count_and_what_was_ended_does_not() {
        let maps = InMemoryMaps::new(LIMITS);
        let corrections = Corrections::default();
        assert_eq!(corrections.look(&maps), Corrected::default());
        corrections.begin([1, 2].into());
        assert!(maps.add_seats(3, 2, 2));
        assert_eq!(corrections.look(&maps).busy, [1, 2].into());
        // Another charge has its place meanwhile.
        let gone = (0, charge::word(9, 1));
        let settled = [(ServiceId(7), (5, 1))];
        corrections.finish(vec![gone], [3].into(), settled);
        let corrected = corrections.look(&maps);
        assert_eq!(corrected.by, [(2, 2)].into());
        assert_eq!((corrected.settled, corrected.busy), (settled.into(), BTreeSet::new()));
        assert_eq!(corrections.look(&maps).settled, BTreeMap::new(), "said once");
        assert_eq!(maps.take_back_seats(3, 2, 5), 2);
        assert_eq!(corrections.look(&maps).by, BTreeMap::new());
    }
}
