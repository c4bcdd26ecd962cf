//! How many connections of a row move for the sake of balance. Pure.
//!
//! A round of moves begins when backends have come or gone and that is over for `SETTLE`, or when
//! the connections have been uneven for `PATIENCE`. It ends when they are even, or when as many
//! have moved as were too many at its beginning. Between rounds a backend may have a few more than
//! its share, so that nothing moves because connections come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use balancer_common::layout::MAX_SCAN;

use super::{
    history::{Round, RowHistory},
    input::Row,
};
use crate::balance::{Load, MINUTE, PATIENCE, SETTLE, excess, is_uneven, targets};

/// What is known of backends beside their weights.
#[derive(Clone, Copy, Debug)]
pub struct Usable<'a> {
    /// Connections as the choice counts them, without those that are ended and not closed yet.
    pub loads: &'a BTreeMap<u32, u32>,
    /// Those that get no connection.
    pub suspects: &'a BTreeSet<u32>,
    /// Those that get none but one that tries them.
    pub neglected: &'a BTreeSet<u32>,
}

/// How many connections of each backend should be ended. What is opened goes to no backend that is
/// suspect: nothing is ended for its sake, and a round in which a backend became suspect is over. For
/// one that is neglected, one connection is ended, and no other until it was opened again.
pub fn moves(
    now: Duration,
    row: &Row,
    Usable { loads, suspects, neglected }: Usable<'_>,
    history: &mut RowHistory,
) -> BTreeMap<u32, usize> {
    follow(now, row, history);
    let suspects: BTreeSet<u32> =
        row.usable.keys().copied().filter(|id| suspects.contains(id)).collect();
    if !suspects.is_subset(&history.suspects) && matches!(history.round, Round::Moving(_)) {
        history.round = Round::Rest;
    }
    let answering = row.usable.len() - suspects.len();
    history.suspects = suspects;
    history.forced = history.forced.filter(|until| now < *until);
    let forced = history.forced.is_some();
    let budget = left(now, row.policy.budget, history);
    // Longer rows are sampled: what is ended would not surely come back where it is missing.
    let useful = row.exact && answering > 1 && row.usable.len() <= MAX_SCAN as usize;
    if !useful || !(row.policy.rebalance || forced) {
        history.forced = None;
        return BTreeMap::new();
    }
    let load = |(id, weight): (&u32, &u16)| Load {
        weight: *weight,
        connections: loads.get(id).copied().unwrap_or(0),
    };
    let usable = row.usable.iter().filter(|(id, _)| !history.suspects.contains(id));
    let (ids, shares): (Vec<_>, Vec<_>) = usable.map(|entry| (*entry.0, load(entry))).unzip();
    let away = history.away();
    let mut surplus = excess(&shares, away);
    let total: u32 = surplus.iter().sum();
    if !begins(now, row, &shares, total, history) {
        return BTreeMap::new();
    }
    let Round::Moving(left) = history.round else { return BTreeMap::new() };
    let mut allowed = if forced { u32::MAX } else { left.min(budget) };
    if row.usable.keys().any(|id| neglected.contains(id)) {
        allowed = allowed.min(u32::from(away == 0));
    }
    for surplus in &mut surplus {
        *surplus = (*surplus).min(allowed);
        allowed -= *surplus;
    }
    let moves = ids.into_iter().zip(surplus).filter(|(_, surplus)| *surplus > 0);
    moves.map(|(id, surplus)| (id, surplus as usize)).collect()
}

/// Takes which backends there are.
pub fn follow(now: Duration, row: &Row, history: &mut RowHistory) {
    let members: Vec<_> = row.usable.iter().map(|(id, weight)| (*id, *weight)).collect();
    if members != history.members {
        history.is_change_known = !history.members.is_empty();
        (history.members, history.changed, history.uneven) = (members, now, None);
        if history.forced.is_none() {
            history.round = Round::Settling;
        }
    }
}

/// True while a round goes on; begins and ends it.
fn begins(now: Duration, row: &Row, shares: &[Load], total: u32, history: &mut RowHistory) -> bool {
    if total == 0 {
        let settling = history.round == Round::Settling && !is_settled(now, row, history);
        if !settling {
            history.round = Round::Rest;
        }
        (history.uneven, history.forced) = (None, None);
        return false;
    }
    match history.round {
        Round::Settling if is_settled(now, row, history) => history.round = Round::Moving(total),
        Round::Settling => return false,
        Round::Moving(0) => history.round = Round::Rest,
        Round::Moving(_) => return true,
        Round::Rest => {}
    }
    if history.round != Round::Rest {
        return true;
    }
    if !is_uneven(shares, &targets(shares, history.away())) {
        history.uneven = None;
        return false;
    }
    let since = *history.uneven.get_or_insert(now);
    if now.saturating_sub(since) < PATIENCE || !is_settled(now, row, history) {
        return false;
    }
    (history.round, history.uneven) = (Round::Moving(total), None);
    true
}

/// After which time the round can begin that waits for backends not to change; none where none waits.
pub fn settles_in(now: Duration, row: &Row, history: &RowHistory) -> Option<Duration> {
    let settled = history.changed + SETTLE.max(row.slow_start);
    let rest = settled.checked_sub(now).filter(|rest| !rest.is_zero());
    rest.filter(|_| history.round == Round::Settling)
}

/// True once backends are what they were for a while, and are all past their slow start.
pub fn is_settled(now: Duration, row: &Row, history: &RowHistory) -> bool {
    now.saturating_sub(history.changed) >= SETTLE.max(row.slow_start)
}

/// Moves that the budget has left: no minute sees more than it.
fn left(now: Duration, budget: u32, history: &mut RowHistory) -> u32 {
    let is_over = |moved: &Duration| now.saturating_sub(*moved) >= MINUTE;
    let over = history.moved.partition_point(is_over);
    history.moved.drain(..over);
    budget.saturating_sub(history.moved.len() as u32)
}

#[cfg(test)]
mod tests;
