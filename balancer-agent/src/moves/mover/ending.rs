//! Ends what was chosen.

use std::time::Duration;

use super::Mover;
use crate::moves::{
    ask::address,
    end::{Order, Outcome},
    history::History,
    input::{End, Input, backend},
    tally::Fate,
};

impl Mover {
    /// Ends connections, those that were permitted once a seat is kept for each.
    pub(super) fn carry_out_seated(
        &mut self,
        input: &Input,
        ends: Vec<End>,
        history: &mut History,
    ) -> (Vec<End>, Duration) {
        let mut cluster = std::mem::take(&mut self.cluster);
        let mut spent = Duration::ZERO;
        let end = |ends: &[End]| {
            let (ended, took) = self.carry_out(input, ends, history);
            spent = took;
            ended
        };
        let carried = cluster.carry_out(input, ends, &self.maps, &self.corrections, end);
        self.cluster = cluster;
        for end in &carried.permitted {
            self.count(input, end.row, Some(end.reason), Fate::Permitted);
        }
        (carried.ended, spent)
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
