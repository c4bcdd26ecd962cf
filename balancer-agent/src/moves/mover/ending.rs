//! Ends what was chosen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Mover;
use crate::{
    model::Reason,
    moves::{
        ask::address,
        end::{Order, Outcome},
        history::History,
        input::{End, Input, Mode, backend},
        tally::Fate,
    },
};

impl Mover {
    /// Ends connections, those that were permitted once a seat is kept for each.
    pub(super) fn carry_out_seated(
        &mut self,
        input: &Input,
        mut ends: Vec<End>,
        history: &mut History,
    ) -> (Vec<End>, Duration) {
        let mut seats: BTreeMap<usize, u32> = BTreeMap::new();
        let is_permitted = |end: &End| {
            let governed = input.governed.get(&end.row).filter(|_| end.reason == Reason::Rebalance);
            governed.is_some_and(|governed| matches!(governed.mode, Mode::Permitted(_)))
        };
        let from = |end: &End| backend(&input.connections[end.connection]);
        // Nobody is to hear of half of it.
        let mut busy: BTreeSet<u32> = ends.iter().map(from).collect();
        for end in ends.iter().filter(|end| is_permitted(end)) {
            let governed = input.rows.get(&end.row);
            busy.extend(governed.into_iter().flat_map(|row| row.usable.keys().copied()));
        }
        if !ends.is_empty() {
            self.corrections.begin(busy);
        }
        ends.retain(|end| {
            if !is_permitted(end) {
                return true;
            }
            let seat = self.cluster.seat(end.row, from(end), &self.maps);
            seats.extend(seat.map(|to| (end.connection, to)));
            seat.is_some()
        });
        let (ended, spent) = self.carry_out(input, &ends, history);
        let done: BTreeSet<usize> = ended.iter().map(|end| end.connection).collect();
        for end in &ends {
            let is_done = done.contains(&end.connection);
            match seats.get(&end.connection) {
                Some(to) if is_done => {
                    self.cluster.seated(input.now, end.row, *to);
                    self.count(input, end.row, Some(end.reason), Fate::Permitted);
                }
                Some(to) => self.cluster.unseat(end.row, from(end), *to, &self.maps),
                None if is_done && end.reason == Reason::Rebalance => {
                    self.cluster.fell(input.now, end.row, from(end));
                }
                None => {}
            }
        }
        (ended, spent)
    }

    /// Ends connections; gives those that were ended, with the way it was done, and what that took
    /// of a processor elsewhere.
    pub(super) fn carry_out(
        &self,
        input: &Input,
        ends: &[End],
        history: &mut History,
    ) -> (Vec<End>, Duration) {
        let mut done = Vec::new();
        if ends.is_empty() {
            return (done, Duration::ZERO);
        }
        let order = |end: &End| {
            let connection = input.connections[end.connection];
            let row = input.rows.get(&end.row);
            Order {
                end: *end,
                connection,
                backend: address(&self.maps, backend(&connection)),
                may_reset: row.is_some_and(|row| row.policy.reset_after.is_some()),
            }
        };
        let (outcomes, spent) = self.helper.end(ends.iter().map(order).collect());
        for (end, outcome) in ends.iter().zip(outcomes) {
            let fate = match outcome {
                Outcome::Ended(way) => {
                    history.ended(input, end);
                    done.push(End { way, ..*end });
                    Fate::Ended(way)
                }
                Outcome::Busy | Outcome::Gone | Outcome::Later => continue,
                Outcome::Untold => {
                    history.untold(input, end);
                    continue;
                }
                Outcome::Stuck => {
                    history.failed(input, end);
                    Fate::Stuck
                }
                Outcome::Unheld => {
                    history.failed(input, end);
                    Fate::Unheld
                }
                Outcome::Failed(error) => {
                    history.failed(input, end);
                    let local = input.connections[end.connection].local;
                    tracing::debug!("the connection of {local} can't be ended: {error}");
                    Fate::Failed
                }
            };
            self.count(input, end.row, Some(end.reason), fate);
        }
        (done, spent)
    }
}
