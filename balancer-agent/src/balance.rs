//! How many connections each backend should have, and how many has too many. Pure.
//!
//! The choice of a backend is exact, so that what is ended comes back to where it is missing: no
//! more need be ended than there are above the target. Where the connections can't be shared out
//! evenly, those that have one more keep it, so that the fewest are ended.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

/// How long backends must not have changed before connections move.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long connections must have been uneven where no backend has changed.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What budgets are of.
pub const MINUTE: Duration = Duration::from_secs(60);

/// A backend that new connections may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its share beside that of others, at least 1.
    pub weight: u16,
    /// Its connections.
    pub connections: u32,
}

/// How many connections each backend should have, with `away` more that are about to come.
pub fn targets(loads: &[Load], away: u32) -> Vec<u32> {
    let total = loads.iter().map(|load| u64::from(load.connections)).sum::<u64>() + u64::from(away);
    let weights = loads.iter().map(|load| u64::from(load.weight)).sum::<u64>().max(1);
    // Where every backend has `weight * x` connections, rounded up, for some `x`, none is taken out of
    // its turn: so the choice would end up too. This `x` leaves at most one more for each.
    let sure = total.saturating_sub(loads.len() as u64);
    let mut targets: Vec<_> =
        loads.iter().map(|load| (sure * u64::from(load.weight)).div_ceil(weights) as u32).collect();
    let rest = total - targets.iter().map(|target| u64::from(*target)).sum::<u64>();
    let turn = |index: usize, target: u32| {
        let load = loads[index];
        let score = Score { connections: target.into(), weight: load.weight.into() };
        // Of two that come next alike, the one that has it already.
        Reverse((score, target >= load.connections, index))
    };
    let mut turns: BinaryHeap<_> =
        targets.iter().enumerate().map(|(index, target)| turn(index, *target)).collect();
    for _ in 0..rest {
        let Some(Reverse((_, _, index))) = turns.pop() else { break };
        targets[index] += 1;
        turns.push(turn(index, targets[index]));
    }
    targets
}

/// How many connections each backend has too many, with `away` more that are about to come.
pub fn excess(loads: &[Load], away: u32) -> Vec<u32> {
    let targets = targets(loads, away);
    loads
        .iter()
        .zip(targets)
        .map(|(load, target)| load.connections.saturating_sub(target))
        .collect()
}

/// True if a backend has more than its target by more than one and a tenth of it.
pub fn is_uneven(loads: &[Load], targets: &[u32]) -> bool {
    let surplus = |(load, target): (&Load, &u32)| {
        load.connections.saturating_sub(*target) > 1_u32.max(target / 10)
    };
    loads.iter().zip(targets).any(surplus)
}

/// Connections for a weight, compared without rounding.
#[derive(Clone, Copy, Debug)]
struct Score {
    connections: u64,
    weight: u64,
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.connections * other.weight).cmp(&(other.connections * self.weight))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn even(connections: &[u32]) -> Vec<Load> {
        connections.iter().map(|&connections| Load { weight: 1, connections }).collect()
    }

    #[test]
    fn the_fewest_are_ended() {
        for (connections, away, want) in [
            (&[20, 0, 0][..], 0, &[13, 0, 0][..]),
            (&[7, 7, 6], 0, &[0, 0, 0]),
            (&[6, 7, 7], 0, &[0, 0, 0]),
            (&[8, 6, 6], 0, &[1, 0, 0]),
            (&[5, 5, 5, 5, 0, 0, 0, 0], 0, &[2, 2, 2, 2, 0, 0, 0, 0]),
            (&[10, 10], 0, &[0, 0]),
            // Those that are away come back to where fewest are.
            (&[7, 0, 0], 13, &[0, 0, 0]),
            (&[9, 0, 0], 11, &[2, 0, 0]),
            (&[1, 0], 0, &[0, 0]),
            (&[], 5, &[]),
        ] {
            assert_eq!(excess(&even(connections), away), want, "{connections:?} and {away}");
        }
    }

    #[test]
    fn shares_follow_weights() {
        let loads = |connections: &[(u16, u32)]| -> Vec<_> {
            connections.iter().map(|&(weight, connections)| Load { weight, connections }).collect()
        };
        assert_eq!(targets(&loads(&[(3, 4), (1, 0)]), 0), [3, 1]);
        assert_eq!(targets(&loads(&[(1000, 0), (1, 100)]), 0), [99, 1]);
        // The lighter ones are idle when the heavier one has its first.
        assert_eq!(targets(&loads(&[(100, 1), (1, 1), (1, 1), (1, 0)]), 0), [1, 1, 1, 0]);
        assert_eq!(excess(&loads(&[(2, 0), (1, 9)]), 0), [0, 6]);
    }

    /// What is ended is opened again where the choice puts it: then nothing more is to be ended, and
    /// no fewer would have done.
    #[test]
    fn one_round_is_enough_and_no_connection_too_many() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..2_000 {
            let weighted = rng.random_bool(0.5);
            let mut loads: Vec<_> = (0..rng.random_range(1..12))
                .map(|_| Load {
                    weight: if weighted { rng.random_range(1..5) } else { 1 },
                    connections: rng.random_range(0..40),
                })
                .collect();
            let before = loads.clone();
            let surplus = excess(&loads, 0);
            let ended: u32 = surplus.iter().sum();
            for (load, ended) in loads.iter_mut().zip(&surplus) {
                load.connections -= ended;
            }
            for _ in 0..ended {
                let score = |load: &Load| Score {
                    connections: load.connections.into(),
                    weight: load.weight.into(),
                };
                loads.iter_mut().min_by_key(|load| score(load)).unwrap().connections += 1;
            }
            assert_eq!(excess(&loads, 0).iter().sum::<u32>(), 0, "{before:?} {loads:?}");
            if !weighted {
                let all = loads.iter().map(|load| load.connections);
                let spread = all.clone().max().unwrap() - all.clone().min().unwrap();
                assert!(spread <= 1, "{before:?} {loads:?}");
                let (total, count) = (all.sum::<u32>(), loads.len() as u32);
                let ceil = total.div_ceil(count);
                let least: u32 =
                    before.iter().map(|load| load.connections.saturating_sub(ceil)).sum();
                let floor: u32 = before
                    .iter()
                    .map(|load| (total / count).saturating_sub(load.connections))
                    .sum();
                assert_eq!(ended, least.max(floor), "{before:?}");
            }
        }
    }
}
