extern crate std;

use std::{vec, vec::Vec};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{
    choice::{self, FIRST, NO_KEY, PART, salt},
    layout::{Level, MAX_SCAN, PAD_BACKEND, Row, Slot},
    weighted::{Best, SlowStart, random_of},
};

/// A row of backends 1.. with their own and others' connections and their weights.
pub(super) struct Host {
    slots: Vec<Slot>,
    pub(super) counters: Vec<Counter>,
}

impl Host {
    pub(super) fn new(backends: &[(u32, u32)], rng: &mut StdRng) -> Self {
        let len = backends.len() as u32;
        let mut slots: Vec<_> = (0..len)
            .map(|at| Slot { backend: at + 1, weight: 1, salt: salt(rng.random(), at) })
            .collect();
        slots.resize(Row::width(len).max(MAX_SCAN) as usize, Slot::PAD);
        let mut counters = vec![Counter { active: PAD_ACTIVE, others: 0 }];
        counters.extend(backends.iter().map(|(active, others)| Counter {
            active: *active,
            others: Counter::others_of(*others),
        }));
        Self { slots, counters }
    }

    fn weighted(backends: &[(u32, u32, u16)], rng: &mut StdRng) -> Self {
        let counts: Vec<_> = backends.iter().map(|(own, others, _)| (*own, *others)).collect();
        let mut host = Self::new(&counts, rng);
        for (slot, (_, _, weight)) in host.slots.iter_mut().zip(backends) {
            slot.weight = *weight;
        }
        host
    }

    pub(super) fn len(&self) -> u32 {
        self.counters.len() as u32 - 1
    }

    /// Connections of all nodes to each backend, as this one knows them.
    pub(super) fn estimates(&self) -> Vec<f64> {
        let all = |counter: &Counter| f64::from(estimate(counter.active, counter.others)) / 256.0;
        self.counters[1..].iter().map(all).collect()
    }

    fn key(&self, chances: Chances, band: Band) -> u64 {
        let first = || part::<FIRST, _>(self, self.len(), chances, band, NO_KEY);
        choice::scan::<{ super::PART }>(self.len(), first, |start, best| {
            part::<{ super::PART }, _>(&From(self, start), self.len() - start, chances, band, best)
        })
    }

    pub(super) fn pick(&self, level: Level, rng: &mut StdRng) -> Option<Pick> {
        let (chances, band) = (Chances::new(rng.random()), level.band());
        let won = won(self, self.key(chances, band), chances, band)?;
        Some(won.expect("nobody else counts"))
    }

    /// The backend with the fewest connections of this node.
    pub(super) fn pick_alone(&self, rng: &mut StdRng) -> u32 {
        let draw = Draw::new(rng.random());
        let first = || choice::part::<FIRST, _>(self, self.len(), draw, NO_KEY);
        let key = choice::scan::<PART>(self.len(), first, |start, best| {
            choice::part::<PART, _>(&From(self, start), self.len() - start, draw, best)
        });
        self.slot(draw.winner(key).expect("not empty").0).backend
    }

    /// How often each backend wins `rounds` draws, of rows with new salts each hundred.
    fn wins(&mut self, level: Level, rounds: u32, rng: &mut StdRng) -> Vec<u32> {
        let mut wins = vec![0; self.len() as usize];
        for round in 0..rounds {
            if round % 100 == 0 {
                for at in 0..self.len() {
                    self.slots[at as usize].salt = salt(rng.random(), at);
                }
            }
            wins[self.pick(level, rng).expect("not empty").backend as usize - 1] += 1;
        }
        wins
    }

    fn pick_weighted(&self, slow: SlowStart, level: Level, rng: &mut StdRng) -> Option<u32> {
        let (chances, band) = (Chances::new(rng.random()), level.band());
        let best = (0..).zip(&self.slots).fold(Best::NONE, |best, (index, slot)| {
            let added = chances.added(slot.salt, band);
            let (active, others) = (self.active(slot.backend), self.others(slot.backend));
            let weight = slow.weigh_all(active, others, slot.weight.into(), 0, added, band);
            best.with(index, weight, random_of(*slot, chances.ties()))
        });
        Some(self.slots[best.winner()?.0 as usize].backend)
    }
}

impl Table for Host {
    fn slot(&self, index: u32) -> Slot {
        self.slots[index as usize]
    }
    fn active(&self, backend: u32) -> u32 {
        self.counters[backend as usize].active
    }
}

impl ClusterTable for Host {
    fn others(&self, backend: u32) -> u32 {
        self.counters[backend as usize].others
    }
}

/// The part of a row from a start.
struct From<'a>(&'a Host, u32);

impl Table for From<'_> {
    fn slot(&self, index: u32) -> Slot {
        self.0.slot(self.1 + index)
    }
    fn active(&self, backend: u32) -> u32 {
        self.0.active(backend)
    }
}

impl ClusterTable for From<'_> {
    fn others(&self, backend: u32) -> u32 {
        self.0.others(backend)
    }
}

/// The level that `need` connections more fill the lowest of estimates up to, in units of a `scale`th.
pub(super) fn level(estimates: &[f64], weights: &[f64], need: f64, scale: f64) -> Level {
    let mut order: Vec<_> = estimates.iter().zip(weights).map(|(e, w)| (e / w, *e, *w)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut all, mut weight) = (need, 0.0);
    let mut filled = 0.0;
    for (at, (_, estimate, share)) in order.iter().enumerate() {
        all += estimate;
        weight += share;
        filled = all / weight;
        if order.get(at + 1).is_none_or(|next| filled <= next.0) {
            break;
        }
    }
    let above = (scale * filled).round() as u32;
    let floor = above.saturating_sub(1);
    Level { floor, span: above.saturating_sub((scale * order[0].0).floor() as u32), fresh_ms: 1 }
}

fn even(estimates: &[f64], need: f64) -> Level {
    level(estimates, &vec![1.0; estimates.len()], need, 256.0)
}

fn chi_squared(wins: &[u32], expected: &[f64]) -> f64 {
    wins.iter().zip(expected).map(|(w, e)| (f64::from(*w) - e).powi(2) / e).sum()
}

#[test]
fn a_backend_is_taken_with_the_chance_of_what_it_lacks() {
    let mut rng = StdRng::seed_from_u64(1);
    // The least has 2 connections, the level is 10.
    let band = Level { floor: 10 * 256 - 1, span: 8 * 256, fresh_ms: 1 }.band();
    for (own, others, chance) in
        [(2, 0, 1.0), (0, 2, 1.0), (1, 3, 0.75), (0, 6, 0.5), (9, 0, 0.125), (0, 10, 0.0)]
    {
        let rounds = 100_000;
        let taken = (0..rounds)
            .filter(|_| {
                let chances = Chances::new(rng.random());
                let added = chances.added(salt(rng.random(), 7), band);
                score(own, Counter::others_of(others), added, band) & BEYOND == 0
            })
            .count();
        let part = taken as f64 / f64::from(rounds);
        assert!((part - chance).abs() < 0.005, "{own} and {others}: {part}, not {chance}");
    }
}

#[test]
fn among_those_taken_the_fewest_own_connections_win() {
    let mut rng = StdRng::seed_from_u64(2);
    // All have 10 and are taken for certain.
    let mut host = Host::new(&[(3, 7), (1, 9), (2, 8), (1, 9), (9, 1)], &mut rng);
    let wins = host.wins(even(&[10.0; 5], 20.0), 10_000, &mut rng);
    assert_eq!((wins[0], wins[2], wins[4]), (0, 0, 0), "{wins:?}");
    assert!(chi_squared(&[wins[1], wins[3]], &[5000.0; 2]) < 10.83, "{wins:?}");
}

/// Chi-squared, 0.1% level.
#[test]
fn ties_are_uniform_and_chance_does_not_lean_on_them() {
    let mut rng = StdRng::seed_from_u64(3);
    for (len, critical) in [(2, 10.83), (3, 13.82), (5, 18.47), (16, 37.70), (128, 181.99)] {
        // Each is taken with the chance of one half.
        let mut host = Host::new(&vec![(0, 4); len], &mut rng);
        let level = Level { floor: 5 * 256 - 1, span: 2 * 256, fresh_ms: 1 };
        let wins = host.wins(level, 50_000, &mut rng);
        let chi = chi_squared(&wins, &vec![50_000.0 / len as f64; len]);
        assert!(chi < critical, "{len}: chi squared {chi:.1}: {wins:?}");
    }
}

#[test]
fn where_none_is_taken_the_least_estimate_wins_with_its_chance() {
    let mut rng = StdRng::seed_from_u64(4);
    // The level was computed when all had less.
    let level = Level { floor: 2 * 256 - 1, span: 256, fresh_ms: 1 };
    let mut host = Host::new(&[(0, 12), (9, 0), (0, 11), (0, 14)], &mut rng);
    assert_eq!(host.wins(level, 2000, &mut rng), [0, 2000, 0, 0], "own ones count as others");
    // Dithered by up to 4 connections, 10 is sometimes more than 12, and never more than 14.
    let level = Level { floor: 5 * 256 - 1, span: 4 * 256, fresh_ms: 1 };
    let wins = host.wins(level, 20_000, &mut rng);
    assert!(wins[1] > wins[2] && wins[2] > wins[0] && wins[0] > 300 && wins[3] == 0, "{wins:?}");
}

#[test]
fn a_quiet_cluster_gets_the_exact_least() {
    let mut rng = StdRng::seed_from_u64(5);
    for len in [1, 2, 7, 16, 17, 129, 300, 700, 1024] {
        for _ in 0..30 {
            let backends: Vec<_> =
                (0..len).map(|_| (rng.random_range(0..900), rng.random_range(0..9))).collect();
            let host = Host::new(&backends, &mut rng);
            let estimates = host.estimates();
            let least = estimates.iter().copied().fold(f64::MAX, f64::min);
            let pick = host.pick(even(&estimates, 1.0), &mut rng).expect("not empty");
            let at = pick.backend as usize - 1;
            assert_eq!(estimates[at], least, "{len}");
            let fewest = backends.iter().zip(&estimates).filter(|(_, e)| **e == least);
            let fewest = fewest.map(|((own, _), _)| *own).min().expect("not empty");
            assert_eq!(pick.seen, fewest, "own ones first: {len}");
        }
    }
}

#[test]
fn a_span_of_nothing_takes_the_least_alone() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut host = Host::new(&[(0, 7), (0, 6), (5, 0), (0, 5)], &mut rng);
    let level = Level { floor: 5 * 256 - 1, span: 0, fresh_ms: 1 };
    assert_eq!(host.wins(level, 2000, &mut rng), [0, 0, 0, 2000], "both have 5, one has none here");
}

#[test]
fn suspects_are_chosen_only_among_themselves() {
    let mut rng = StdRng::seed_from_u64(7);
    let level = Level { floor: 4 * 256 - 1, span: 4 * 256, fresh_ms: 1 };
    for (healthy, others) in [(0, 100_000), (400_000, 0), (1, 1)] {
        let mut host = Host::new(&[(SUSPECT, 0), (healthy, others), (SUSPECT | 3, 9)], &mut rng);
        assert_eq!(host.wins(level, 500, &mut rng), [0, 500, 0]);
        host.counters[2].active |= SUSPECT;
        let wins = host.wins(level, 500, &mut rng);
        assert_eq!(wins[2], 0, "{wins:?}");
        let backends = [(SUSPECT, 900), (healthy, others), (SUSPECT | 3, 9)];
        let host = Host::new(&backends, &mut rng);
        for _ in 0..100 {
            let least = sample(&host, 3, || rng.random()).expect("not empty");
            assert_eq!(least.backend, 2);
        }
    }
}

#[test]
fn padding_never_wins_whatever_the_level() {
    let mut rng = StdRng::seed_from_u64(8);
    for _ in 0..2000 {
        let level = Level { floor: rng.random(), span: rng.random(), fresh_ms: 1 };
        let mut host = Host::new(&[(SUSPECT | 458_751, u32::MAX)], &mut rng);
        assert_eq!(host.pick(level, &mut rng).expect("not empty").backend, 1, "{level:?}");
        host.slots[0] = Slot { backend: PAD_BACKEND, weight: 1, salt: 9 };
        assert_eq!(host.pick(level, &mut rng), None, "{level:?}");
        assert_eq!(sample(&host, 1, || 7), None);
        assert_eq!(host.pick_weighted(NO_SLOW_START, level, &mut rng), None);
    }
}

#[test]
fn a_counter_that_changed_is_no_pick() {
    let mut rng = StdRng::seed_from_u64(9);
    let band = Level { floor: 255, span: 256, fresh_ms: 1 }.band();
    let mut host = Host::new(&[(1, 5), (1, 7)], &mut rng);
    let chances = Chances::new(rng.random());
    let key = host.key(chances, band);
    let first = Pick { backend: 1, seen: 1 };
    assert_eq!(won(&host, key, chances, band), Some(Ok(first)));
    host.counters[1].active = 2;
    assert_eq!(won(&host, key, chances, band), Some(Err(Changed)));
}

#[test]
fn a_sample_takes_the_least_of_all_nodes() {
    let mut rng = StdRng::seed_from_u64(10);
    let backends: Vec<_> = (0..5000).map(|n| (n % 3, n % 10)).collect();
    let host = Host::new(&backends, &mut rng);
    let estimates = host.estimates();
    let sum: f64 = (0..1000)
        .map(|_| sample(&host, 5000, || rng.random()).expect("not empty"))
        .map(|pick| estimates[pick.backend as usize - 1])
        .sum();
    // The least of 16 draws is 0 in 42% of the cases, at most 1 in 81%.
    assert!(sum < 1000.0, "mean of the least: {}", sum / 1000.0);
}

const NO_SLOW_START: SlowStart = SlowStart { now: 5000, window: 0 };

fn weighted_wins(host: &mut Host, level: Level, rounds: u32, rng: &mut StdRng) -> Vec<u32> {
    let mut wins = vec![0; host.len() as usize];
    for round in 0..rounds {
        if round % 100 == 0 {
            for at in 0..host.len() {
                host.slots[at as usize].salt = salt(rng.random(), at);
            }
        }
        let backend = host.pick_weighted(NO_SLOW_START, level, rng).expect("not empty");
        wins[backend as usize - 1] += 1;
    }
    wins
}

#[test]
fn by_weight_what_is_taken_is_chosen_by_own_connections_for_the_weight() {
    let mut rng = StdRng::seed_from_u64(11);
    // All have 4 for a weight of 1, and are taken for certain.
    let backends = [(0, 4, 1), (0, 12, 3), (2, 6, 2), (0, 0, 0)];
    let mut host = Host::weighted(&backends[..3], &mut rng);
    let level = Level { floor: 9 * 4096 - 1, span: 5 * 4096, fresh_ms: 1 };
    let wins = weighted_wins(&mut host, level, 20_000, &mut rng);
    assert_eq!(wins[2], 0, "{wins:?}");
    assert!(chi_squared(&wins[..2], &[5000.0, 15_000.0]) < 10.83, "{wins:?}");
}

#[test]
fn by_weight_a_backend_is_taken_with_the_chance_of_what_it_lacks() {
    let mut rng = StdRng::seed_from_u64(12);
    let band = Level { floor: 10 * 4096 - 1, span: 8 * 4096, fresh_ms: 1 }.band();
    for (others, weight, chance) in [(6, 3, 1.0), (30, 5, 0.5), (9, 1, 0.125), (1000, 100, 0.0)] {
        let rounds = 100_000;
        let taken = (0..rounds)
            .filter(|_| {
                let added = Chances::new(rng.random()).added(salt(rng.random(), 7), band);
                let others = Counter::others_of(others);
                NO_SLOW_START.weigh_all(0, others, weight, 0, added, band).score == 0
            })
            .count();
        let part = taken as f64 / f64::from(rounds);
        assert!((part - chance).abs() < 0.005, "{others} for {weight}: {part}, not {chance}");
    }
}

#[test]
fn by_weight_a_quiet_cluster_gets_the_exact_least() {
    let mut rng = StdRng::seed_from_u64(13);
    for _ in 0..2000 {
        let backends: Vec<_> = (0..rng.random_range(1..20))
            .map(|_| (rng.random_range(0..9), rng.random_range(0..90), rng.random_range(1..9)))
            .collect();
        let host = Host::weighted(&backends, &mut rng);
        let each: Vec<_> = backends
            .iter()
            .map(|(own, others, weight)| {
                NO_SLOW_START.estimate(*own, Counter::others_of(*others), (*weight).into(), 0)
            })
            .collect();
        let least = *each.iter().min().expect("not empty");
        let level = Level { floor: least.saturating_sub(1), span: 0, fresh_ms: 1 };
        let backend = host.pick_weighted(NO_SLOW_START, level, &mut rng).expect("not empty");
        assert!(each[backend as usize - 1] <= least.max(1), "{backends:?}: {backend}");
    }
}

#[test]
fn by_weight_suspects_lose_and_what_is_new_counts_for_less() {
    let mut rng = StdRng::seed_from_u64(14);
    let level = Level { floor: 2 * 4096 - 1, span: 4096, fresh_ms: 1 };
    let mut host = Host::weighted(&[(SUSPECT, 0, 1000), (300_000, 500_000, 1)], &mut rng);
    assert_eq!(weighted_wins(&mut host, level, 500, &mut rng), [0, 500]);
    host.counters[2].active |= SUSPECT;
    assert_eq!(weighted_wins(&mut host, level, 500, &mut rng), [500, 0]);
    let slow = SlowStart { now: 250, window: 1000 };
    let whole = slow.estimate(1, Counter::others_of(4), 2, u32::MAX / 2);
    let quarter = slow.estimate(1, Counter::others_of(4), 2, 0);
    assert_eq!(whole, 5 * 4096 / 2);
    assert!((39..=41).contains(&(quarter / 1024)), "{quarter}");
}
