//! Which connections are ended, and why. Pure: an input and a history in, demands out, and from
//! these and what the kernel says of the candidates, ends.

mod next;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use balancer_common::charge;

pub use self::next::{Waiting, are_awaited, settles_in, soonest, waiting, wanted};
use super::{
    cluster::demanded,
    history::{DrainHistory, History},
    input::{Demand, End, Input, Leaving, Row, age, backend},
    looks::Seen,
    rebalance::{self, Usable},
};
use crate::model::{Reason, Way};

/// Connections of one demand that the kernel is asked about at a time.
const ASKED: usize = 2_000;

/// What should be ended, if the kernel says that it may.
pub fn demands(input: &Input, history: &mut History) -> Vec<Demand> {
    history.refresh(input);
    let ending = history.ending(input);
    let mut of_row: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, connection) in input.connections.iter().enumerate() {
        of_row.entry(connection.service).or_default().push(index);
    }
    let mut loads: BTreeMap<u32, u32> = input
        .active
        .iter()
        .map(|(id, active)| (*id, active.saturating_sub(ending.get(id).copied().unwrap_or(0))))
        .collect();
    let mut demands = Vec::new();
    for (id, connections) in of_row {
        let Some(row) = input.rows.get(&id) else { continue };
        let row_demands = of_one(input, id, row, &connections, (&mut loads, &ending), history);
        demands.extend(row_demands.into_iter().map(|demand| bounded(demand, history.turn)));
    }
    demands
}

fn of_one(
    input: &Input,
    id: u32,
    row: &Row,
    connections: &[usize],
    (loads, ending): (&mut BTreeMap<u32, u32>, &BTreeMap<u32, u32>),
    history: &mut History,
) -> Vec<Demand> {
    // Where nothing else can be opened, what is open is worth more than none.
    let elsewhere = |backend: u32| row.usable.keys().any(|usable| *usable != backend);
    let mut by_backend: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for index in connections {
        let connection = &input.connections[*index];
        if elsewhere(backend(connection)) {
            by_backend.entry(backend(connection)).or_default().push(*index);
        }
    }
    let mut demands = Vec::new();
    if !row.usable.is_empty() {
        demands.push(old(input, id, row, connections));
        demands.push(idle(input, id, row, connections, history));
    }
    let Some(known) = history.rows.get_mut(&id) else { return Vec::new() };
    known
        .drains
        .retain(|backend, _| matches!(row.leaving.get(backend), Some(Leaving::Draining(_))));
    known.gone.retain(|backend, _| matches!(row.leaving.get(backend), Some(Leaving::Gone(_))));
    for (leaving, why) in &row.leaving {
        let among = by_backend.get(leaving).map(Vec::as_slice).unwrap_or_default();
        demands.push(match why {
            Leaving::Draining(over) => drain(input, id, row, among, *leaving, *over, history),
            Leaving::Gone(after) => stale(input, id, row, among, *leaving, *after, history),
        });
    }
    let Some(known) = history.rows.get_mut(&id) else { return Vec::new() };
    let (moves, asks) = if let Some(governed) = input.governed.get(&id) {
        let (moves, asks) = demanded(input, id, row, governed, ending, history);
        (moves.into_iter().map(|(backend, count)| (backend, count as usize)).collect(), asks)
    } else {
        let usable = Usable { loads, suspects: &input.suspects, neglected: &input.neglected };
        (rebalance::moves(input.now, row, usable, known), false)
    };
    for (backend, count) in moves {
        let mut among = by_backend.remove(&backend).unwrap_or_default();
        if input.governed.contains_key(&id) {
            among.retain(|index| !history.is_moved(id, &input.connections[*index]));
        }
        // For Services that share the backend: these are as good as gone.
        if let Some(load) = loads.get_mut(&backend) {
            *load = load.saturating_sub(count.min(among.len()) as u32);
        }
        demands.push(Demand {
            reason: Reason::Rebalance,
            row: id,
            among,
            count,
            asks,
            quiet: row.policy.quiet,
            overdue: BTreeSet::new(),
        });
    }
    // What was ended is let alone, unless it has been open for so long after that it is reset.
    for demand in &mut demands {
        let reset = row.policy.reset_after;
        demand.overdue.retain(|index| {
            let ended = history.ended_at(input.connections[*index].word);
            reset.is_some_and(|reset| {
                ended.is_none_or(|ended| input.now.saturating_sub(ended) >= reset)
            })
        });
        let waits = |index: &usize| {
            let word = input.connections[*index].word;
            let reset = demand.overdue.contains(index);
            (reset || !history.is_ended(word)) && !history.is_paused(input.now, word)
        };
        demand.among.retain(waits);
    }
    demands.retain(|demand| demand.count > 0 && !demand.among.is_empty());
    demands
}

/// Connections that are old.
fn old(input: &Input, id: u32, row: &Row, connections: &[usize]) -> Demand {
    let policy = &row.policy;
    let limit = |index: &usize| {
        let cookie = charge::cookie_of(input.connections[*index].word);
        policy.age.map(|limit| limit + part(policy.jitter, cookie))
    };
    let over = |index: &usize| {
        let limit = limit(index)?;
        age(input.now, &input.connections[*index]).checked_sub(limit)
    };
    let among: Vec<_> = connections.iter().copied().filter(|index| over(index).is_some()).collect();
    let overdue = |index: &usize| {
        policy.reset_after.is_some_and(|reset| over(index).is_some_and(|over| over >= reset))
    };
    Demand {
        reason: Reason::Age,
        row: id,
        count: among.len(),
        asks: false,
        quiet: policy.quiet,
        overdue: among.iter().copied().filter(overdue).collect(),
        among,
    }
}

/// Connections that may have been quiet for long.
fn idle(input: &Input, id: u32, row: &Row, connections: &[usize], history: &History) -> Demand {
    let due = |index: &usize| {
        let connection = &input.connections[*index];
        let old_enough = |idle| age(input.now, connection) >= idle;
        row.policy.idle.is_some_and(old_enough) && history.idle_at(connection.word) <= input.now
    };
    let among: Vec<_> = connections.iter().copied().filter(due).collect();
    // What was ended was due then; for how long others have been is asked of the kernel.
    let was_ended = |index: &usize| history.is_ended(input.connections[*index].word);
    let reset = row.policy.reset_after.is_some();
    Demand {
        reason: Reason::Idle,
        row: id,
        count: among.len(),
        asks: false,
        quiet: row.policy.idle.unwrap_or_default(),
        overdue: among.iter().copied().filter(|index| reset && was_ended(index)).collect(),
        among,
    }
}

/// Connections of a backend that drains: at an even pace, the last at the end of the time.
fn drain(
    input: &Input,
    id: u32,
    row: &Row,
    among: &[usize],
    backend: u32,
    over: Duration,
    history: &mut History,
) -> Demand {
    let begin = DrainHistory { since: input.now, initial: among.len(), ended: 0 };
    let ended = among.iter().filter(|i| history.is_ended(input.connections[**i].word)).count();
    let row_memory = history.rows.entry(id).or_default();
    let drain = row_memory.drains.entry(backend).or_insert(begin);
    let elapsed = input.now.saturating_sub(drain.since);
    // The first at once: who drains wants to see that it works.
    let part = (elapsed.as_secs_f64() / over.as_secs_f64()).min(1.0);
    let due = ((drain.initial as f64 * part).ceil() as usize).max(1);
    let rest = among.len() - ended;
    let all = elapsed >= over;
    let reset = row.policy.reset_after.is_some_and(|reset| elapsed >= over + reset);
    Demand {
        reason: Reason::Drain,
        row: id,
        among: among.to_vec(),
        asks: false,
        count: if all { among.len() } else { due.saturating_sub(drain.ended).min(rest) },
        quiet: row.policy.quiet,
        overdue: if reset { among.iter().copied().collect() } else { BTreeSet::new() },
    }
}

/// Connections to a backend that is gone.
fn stale(
    input: &Input,
    id: u32,
    row: &Row,
    among: &[usize],
    backend: u32,
    after: Duration,
    history: &mut History,
) -> Demand {
    let row_memory = history.rows.entry(id).or_default();
    let since = *row_memory.gone.entry(backend).or_insert(input.now);
    let elapsed = input.now.saturating_sub(since);
    let reset = row.policy.reset_after.is_some_and(|reset| elapsed >= after + reset);
    Demand {
        reason: Reason::Stale,
        row: id,
        among: among.to_vec(),
        asks: false,
        count: if elapsed >= after { among.len() } else { 0 },
        quiet: row.policy.quiet,
        overdue: if reset { among.iter().copied().collect() } else { BTreeSet::new() },
    }
}

/// A part of the jitter, for each connection another and always the same.
fn part(jitter: Duration, cookie: u64) -> Duration {
    // Cookies follow each other: the product spreads them over all of the range.
    let spread = cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    jitter.mul_f64(spread as f64 / f64::from(u32::MAX))
}

/// A demand about as many connections as the kernel may be asked about at a time: others at each
/// turn.
fn bounded(mut demand: Demand, turn: usize) -> Demand {
    if demand.among.len() > ASKED {
        let start = turn.wrapping_mul(ASKED) % demand.among.len();
        demand.among.rotate_left(start);
        demand.among.truncate(ASKED);
    }
    demand
}

/// The connections that the kernel is asked about: indices of [`Input::connections`].
pub fn asked(demands: &[Demand]) -> BTreeSet<usize> {
    demands.iter().flat_map(|demand| demand.among.iter().copied()).collect()
}

/// What is ended, of all that was asked about: each connection once, for the first reason of
/// [`Reason`]. Those that have rested for long first, the longest before the others; then those
/// that came to rest last, whose clients will not go on so soon. Who is `patient` waits for safe
/// moments.
pub fn choose(
    input: &Input,
    demands: &[Demand],
    answers: &BTreeMap<usize, Seen>,
    patient: bool,
    history: &mut History,
) -> Vec<End> {
    let mut in_order: Vec<_> = demands.iter().collect();
    in_order.retain(|demand| !demand.asks);
    in_order.sort_by_key(|demand| demand.reason);
    let mut taken = BTreeSet::new();
    let mut ends = Vec::new();
    for demand in in_order {
        let mut able = Vec::new();
        for index in &demand.among {
            let Some(found) = answers.get(index) else { continue };
            // What would be broken off otherwise is ended gently at any moment.
            let overdue = demand.overdue.contains(index) || is_long_idle(input, demand, found);
            let safe = patient && !overdue && needs_safety(demand.reason);
            let way = if may_end(demand, found)
                && (!safe || found.activity.is_safe(demand.quiet))
                && !history.is_ended(input.connections[*index].word)
            {
                Way::Gentle
            } else if overdue {
                Way::Reset
            } else {
                if demand.reason == Reason::Idle {
                    // It can't have been quiet for long enough before.
                    let at = input.now + demand.quiet.saturating_sub(found.activity.idle());
                    history.not_idle_before(input.connections[*index].word, at);
                }
                continue;
            };
            let unsure = demand.reason != Reason::Idle && found.is_unsure();
            able.push((found.activity, *index, way, safe, unsure, found.inode));
        }
        // Those that may turn out to wait for an answer last: as many as are wanted are tried.
        able.sort_unstable_by_key(|(activity, index, _, _, unsure, _)| {
            let rested = activity.has_rested().then(|| activity.idle());
            (*unsure, Reverse(rested), activity.idle(), *index)
        });
        let free = able.into_iter().filter(|(_, index, ..)| taken.insert(*index));
        let chosen = free.take(demand.count);
        ends.extend(chosen.map(|(activity, connection, way, safe, unsure, inode)| End {
            connection,
            row: demand.row,
            reason: demand.reason,
            quiet: demand.quiet,
            safe,
            unsure,
            idle: activity.idle(),
            moved: (activity.bytes_sent, activity.bytes_received),
            inode,
            way,
        }));
    }
    ends
}

/// Connections that could be ended if it was permitted, by row and backend: those that are quiet now, at a
/// safe moment or between two, and are not ended for another reason.
pub fn quiet(
    input: &Input,
    demands: &[Demand],
    answers: &BTreeMap<usize, Seen>,
    ends: &[End],
) -> BTreeMap<u32, BTreeMap<u32, u32>> {
    let ended: BTreeSet<_> = ends.iter().map(|end| end.connection).collect();
    let mut quiet: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
    for demand in demands.iter().filter(|demand| demand.asks) {
        let may = |index: &&usize| {
            !ended.contains(*index)
                && answers.get(*index).is_some_and(|found| may_end(demand, found))
        };
        for index in demand.among.iter().filter(may) {
            let of_row = quiet.entry(demand.row).or_default();
            *of_row.entry(backend(&input.connections[*index])).or_default() += 1;
        }
    }
    quiet
}

/// Why connections are not ended that lead to a backend that drains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hindered {
    /// Something is under way.
    pub busy: u32,
    /// They rest, and have not for long enough, or at no safe moment.
    pub resting: u32,
}

/// The connections that were asked about, are to be ended because their backend drains, and are not, by
/// backend.
pub fn hindered(
    input: &Input,
    demands: &[Demand],
    answers: &BTreeMap<usize, Seen>,
    ends: &[End],
) -> BTreeMap<u32, Hindered> {
    let ended: BTreeSet<_> = ends.iter().map(|end| end.connection).collect();
    let mut hindered: BTreeMap<u32, Hindered> = BTreeMap::new();
    for demand in demands.iter().filter(|demand| demand.reason == Reason::Drain) {
        for index in demand.among.iter().filter(|index| !ended.contains(*index)) {
            let Some(found) = answers.get(index) else { continue };
            let of = hindered.entry(backend(&input.connections[*index])).or_default();
            if found.is_quiet(demand.quiet) || found.waits(demand.quiet).is_some() {
                of.resting += 1;
            } else {
                of.busy += 1;
            }
        }
    }
    hindered
}

/// True if a connection may be ended gently. What nobody has used for long is not waited for any
/// more, whoever was to answer.
fn may_end(demand: &Demand, found: &Seen) -> bool {
    let activity = &found.activity;
    match demand.reason {
        Reason::Idle => activity.is_empty() && activity.idle() >= demand.quiet,
        _ => found.is_quiet(demand.quiet),
    }
}

/// True if nobody has used a connection for so long that it is reset.
fn is_long_idle(input: &Input, demand: &Demand, found: &Seen) -> bool {
    let reset = input.rows.get(&demand.row).and_then(|row| row.policy.reset_after);
    demand.reason == Reason::Idle
        && reset.is_some_and(|reset| found.activity.idle() >= demand.quiet + reset)
}

/// True if a connection is to be ended at a safe moment rather than now. Where its backend is gone,
/// and where nobody has used it for long, that is no question.
const fn needs_safety(reason: Reason) -> bool {
    !matches!(reason, Reason::Idle | Reason::Stale)
}

#[cfg(test)]
mod tests;
