//! Ends that were chosen are carried out, those that were permitted once a seat is kept for each.

use std::collections::{BTreeMap, BTreeSet};

use super::Cluster;
use crate::{
    maps::KeepSeats,
    model::Reason,
    moves::{
        corrections::Corrections,
        input::{End, Input, Mode, backend},
    },
};

/// What was ended.
#[derive(Debug, Default)]
pub struct Carried {
    /// All of it.
    pub ended: Vec<End>,
    /// That of it which was permitted.
    pub permitted: Vec<End>,
}

impl Cluster {
    /// Carries ends out: `end` ends connections, and gives those that it has ended. A connection that may be
    /// ended by a permit alone is not where there is none left, or no room for its seat.
    pub fn carry_out(
        &mut self,
        input: &Input,
        mut ends: Vec<End>,
        maps: &impl KeepSeats,
        corrections: &Corrections,
        end: impl FnOnce(&[End]) -> Vec<End>,
    ) -> Carried {
        let is_permitted = |end: &End| {
            let governed = input.governed.get(&end.row).filter(|_| end.reason == Reason::Rebalance);
            governed.is_some_and(|governed| matches!(governed.mode, Mode::Permitted(_)))
        };
        let from = |end: &End| backend(&input.connections[end.connection]);
        // Nobody is to hear of half of it.
        let mut busy: BTreeSet<u32> = ends.iter().map(from).collect();
        for end in ends.iter().filter(|end| is_permitted(end)) {
            let row = input.rows.get(&end.row);
            busy.extend(row.into_iter().flat_map(|row| row.usable.keys().copied()));
        }
        if !ends.is_empty() {
            corrections.begin(busy);
        }
        let mut seats: BTreeMap<usize, u32> = BTreeMap::new();
        ends.retain(|end| {
            if !is_permitted(end) {
                return true;
            }
            let seat = self.seat(end.row, from(end), maps);
            seats.extend(seat.map(|to| (end.connection, to)));
            seat.is_some()
        });
        let ended = end(&ends);
        let done: BTreeSet<usize> = ended.iter().map(|end| end.connection).collect();
        let mut permitted = Vec::new();
        for end in &ends {
            let is_done = done.contains(&end.connection);
            match seats.get(&end.connection) {
                Some(to) if is_done => {
                    self.seated(input.now, end.row, *to);
                    permitted.push(*end);
                }
                Some(to) => self.unseat(end.row, from(end), *to, maps),
                None if is_done && end.reason == Reason::Rebalance => {
                    self.fell(input.now, end.row, from(end));
                }
                None => {}
            }
        }
        Carried { ended, permitted }
    }
}
