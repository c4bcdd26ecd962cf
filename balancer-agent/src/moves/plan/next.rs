//! When there may be more to end.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    model::Reason,
    moves::{
        history::History,
        input::{Demand, End, Input, Row},
        looks::Seen,
        rebalance,
    },
};

/// Connections that rest: by row and time for which they must.
pub type Waiting = BTreeMap<(u32, Duration), usize>;

/// After which time one of those that were asked about may be ended that was not now.
pub fn soonest(demands: &[Demand], answers: &BTreeMap<usize, Seen>) -> Option<Duration> {
    let of = |demand: &Demand| {
        let found = demand.among.iter().filter_map(|index| answers.get(index));
        found.map(|found| found.next_safe(demand.quiet)).min()
    };
    demands.iter().filter(|demand| demand.reason != Reason::Idle).filter_map(of).min()
}

/// How many of those that were asked about rest, and not yet for long enough, by row, and for how
/// long they must.
pub fn waiting(demands: &[Demand], answers: &BTreeMap<usize, Seen>) -> Waiting {
    let mut waiting = Waiting::new();
    for demand in demands {
        let found = demand.among.iter().filter_map(|index| answers.get(index));
        for rest in found.filter_map(|found| found.waits(demand.quiet)) {
            *waiting.entry((demand.row, rest)).or_default() += 1;
        }
    }
    waiting
}

/// After which time a round of moves begins that waits for backends not to change.
pub fn settles_in(input: &Input, history: &History) -> Option<Duration> {
    let of = |(id, row): (&u32, &Row)| {
        let known = history.rows.get(id).filter(|_| row.policy.rebalance)?;
        rebalance::settles_in(input.now, row, known)
    };
    input.rows.iter().filter_map(of).min()
}

/// True where more connections should be ended than came to rest: what was used in the last moment waits as
/// well as what was busy before. `quiet` are those that a steward was asked about, by row and backend: these
/// wait for its answer, and not for their clients.
pub fn are_awaited(
    demands: &[Demand],
    ended: &[End],
    quiet: &BTreeMap<u32, BTreeMap<u32, u32>>,
) -> bool {
    let asking = demands.iter().filter(|demand| demand.asks);
    let asking: usize = asking.map(|demand| demand.count.min(demand.among.len())).sum();
    let could: u32 = quiet.values().flat_map(BTreeMap::values).sum();
    let done = ended.iter().filter(|end| is_waited_for(end.reason)).count();
    asking > could as usize || wanted(demands) > done
}

/// How many connections are wanted by all demands that ask nobody.
pub fn wanted(demands: &[Demand]) -> usize {
    let waited = demands.iter().filter(|demand| !demand.asks && is_waited_for(demand.reason));
    waited.map(|demand| demand.count.min(demand.among.len())).sum()
}

/// Nobody waits for what is not known to have been quiet for long.
fn is_waited_for(reason: Reason) -> bool {
    reason != Reason::Idle
}
