//! Least connections by weight, and with it the slow start.
//!
//! The score of a backend is `active / weight`. Of backends with the same score each is chosen with
//! its weight as the chance: of two that are idle, with weights 3 and 1, the first gets three of four
//! connections that come one after another. With `active / weight` alone and a fixed or an even order
//! of ties the lighter one would get none of them, or half.
//!
//! While a backend is new, its weight grows from a tenth to the whole over the window of the slow
//! start, so that it holds as large a part of its share as of the window has passed, and gets as large a
//! part of connections that come one after another. The programs compute it themselves: it goes on
//! without an agent.
//!
//! # Ties by weight in one pass
//!
//! [`Best`] keeps the sum of the shares of all slots that have the smallest score so far, and one of
//! them. A further one takes its place with the chance `share / sum`, its own share included. In the
//! end each was taken with `share / sum` of all.

use crate::{
    choice::{Draw, Pick, Table},
    layout::{MAX_SCAN, PAD_ACTIVE, Slot},
    policy::MAX_WEIGHT,
    suspect,
};

/// Fraction bits of a score: two scores are told apart unless they differ by less than a 1,024th of a
/// connection per unit of weight.
const FRACTION: u32 = 10;
/// Bits of a score. The highest is set for suspect backends.
const SCORE_BITS: u32 = 30;
/// The score of padding, and of nothing.
const NOTHING: u64 = (1 << SCORE_BITS) - 1;
/// Set in the score of a suspect backend.
pub(crate) const SUSPECT_SCORE: u64 = 1 << (SCORE_BITS - 1);
/// The largest score of a backend, without the bit of suspects.
const MOST: u64 = SUSPECT_SCORE - 2;

/// Fraction bits of a share, for weights that grow.
const SHARE_FRACTION: u32 = 4;
/// Bits of a sum of shares.
const SUM_BITS: u32 = 24;
const SUM_MASK: u64 = (1 << SUM_BITS) - 1;
const INDEX_BITS: u32 = 10;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const _: () = {
    assert!(SCORE_BITS + INDEX_BITS + SUM_BITS == u64::BITS);
    assert!(MAX_SCAN <= 1 << INDEX_BITS);
    assert!(((MAX_SCAN as u64) * (MAX_WEIGHT as u64)) << SHARE_FRACTION <= SUM_MASK);
};

/// A backend that is this many parts of its window old, or younger, has one part of its weight.
const LEAST_PART: u32 = 10;

/// The time of the choice, and the window of the slow start.
#[derive(Clone, Copy, Debug)]
pub struct SlowStart {
    /// Now, in ticks.
    pub now: u32,
    /// Length of the window in ticks; 0 without slow start.
    pub window: u32,
}

/// What a slot is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Connections for a weight; the smallest wins.
    pub score: u64,
    /// The chance among slots with the same score.
    pub share: u64,
}

impl SlowStart {
    /// The whole window, and the weight times the part of it that has passed since a backend was added.
    #[inline(always)]
    pub(crate) fn grown(self, weight: u32, since: u32) -> (u64, u64) {
        let window = self.window as u64 + 1;
        let least = window / LEAST_PART as u64 + 1;
        let age = self.now.wrapping_sub(since) as u64 + 1;
        let age = if age > window { window } else { age };
        let age = if age < least { least } else { age };
        // A weight of 0 is taken as the smallest.
        let weight = if weight == 0 { 1 } else { weight as u64 };
        (window, weight * age)
    }

    /// Of a backend, whose word of the counters is `active`.
    #[inline(always)]
    pub fn weigh(self, active: u32, weight: u32, since: u32) -> Weight {
        if active == PAD_ACTIVE {
            return Weight { score: NOTHING, share: 0 };
        }
        let (window, share) = self.grown(weight, since);
        let score = ((suspect::count(active) as u64) << FRACTION) * window / share;
        let score = if score > MOST { MOST } else { score };
        let suspect = if suspect::is_suspect(active) { SUSPECT_SCORE } else { 0 };
        let share = (share << SHARE_FRACTION) / window;
        Weight { score: suspect | score, share: if share == 0 { 1 } else { share } }
    }
}

/// The best slots of a row so far.
///
/// ```text
///   63   34 33   24 23          0
/// [ score ][ index ][ sum of    ]
/// [       ][       ][ shares    ]
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Best(pub u64);

impl Best {
    /// Of no slot.
    pub const NONE: Self = Self(NOTHING << (u64::BITS - SCORE_BITS));

    /// With one slot more, and a uniformly random word that is its own.
    #[inline(always)]
    pub fn with(self, index: u32, slot: Weight, random: u32) -> Self {
        let Weight { score, share } = slot;
        let best = self.0 >> (u64::BITS - SCORE_BITS);
        if score > best || score == NOTHING {
            return self;
        }
        let own = (index as u64 & INDEX_MASK) << SUM_BITS;
        if score < best {
            return Self(score << (u64::BITS - SCORE_BITS) | own | share);
        }
        let sum = (self.0 & SUM_MASK) + share;
        let kept = self.0 & INDEX_MASK << SUM_BITS;
        let takes = (random as u64 * sum) >> 32 < share;
        Self(score << (u64::BITS - SCORE_BITS) | if takes { own } else { kept } | sum & SUM_MASK)
    }

    /// The index and the score of the slot that was taken.
    #[inline(always)]
    pub const fn winner(self) -> Option<(u32, u64)> {
        let score = self.0 >> (u64::BITS - SCORE_BITS);
        if score == NOTHING {
            return None;
        }
        Some(((self.0 >> SUM_BITS & INDEX_MASK) as u32, score))
    }
}

/// What a slot draws.
#[inline(always)]
pub const fn random_of(slot: Slot, draw: Draw) -> u32 {
    slot.salt.wrapping_mul(draw.factor())
}

/// The counter of the slot that won with a score. It is read again; `Err` where it changed meanwhile
/// and the scan must be done again. `weigh` weighs a slot with a word of the counters.
#[inline(always)]
pub fn won<T: Table>(
    table: &T,
    index: u32,
    score: u64,
    weigh: impl Fn(Slot, u32) -> Weight,
) -> Result<Pick, Changed> {
    let slot = table.slot(index);
    let seen = table.active(slot.backend);
    let same = weigh(slot, seen).score == score;
    if same { Ok(Pick { backend: slot.backend, seen }) } else { Err(Changed) }
}

/// A counter changed between two reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::{
        choice,
        layout::{Row, Slot},
        suspect::SUSPECT,
    };

    const NO_SLOW_START: SlowStart = SlowStart { now: 5000, window: 0 };

    /// Backends 1.. with a weight and an age each, counting what they are given.
    struct Host {
        slots: Vec<Slot>,
        active: Vec<u32>,
        since: Vec<u32>,
        slow_start: SlowStart,
    }

    impl Host {
        fn new(backends: &[(u16, u32)], rng: &mut StdRng) -> Self {
            let mut slots: Vec<_> = (0..)
                .zip(backends)
                .map(|(at, (weight, _))| Slot {
                    backend: at + 1,
                    weight: *weight,
                    salt: choice::salt(rng.random(), at),
                })
                .collect();
            slots.resize(Row::width(backends.len() as u32) as usize, Slot::PAD);
            let mut active = vec![0; backends.len() + 1];
            active[0] = PAD_ACTIVE;
            let since = std::iter::once(0).chain(backends.iter().map(|(_, since)| *since));
            Self { slots, active, since: since.collect(), slow_start: NO_SLOW_START }
        }

        fn weigh(&self, slot: Slot, active: u32) -> Weight {
            let since = self.since[slot.backend as usize];
            self.slow_start.weigh(active, slot.weight as u32, since)
        }

        fn scan(&self, rng: &mut StdRng) -> Option<Pick> {
            let draw = Draw::new(rng.random());
            let best = (0..).zip(&self.slots).fold(Best::NONE, |best, (index, slot)| {
                let weight = self.weigh(*slot, self.active(slot.backend));
                best.with(index, weight, random_of(*slot, draw))
            });
            let (index, score) = best.winner()?;
            let weigh = |slot, active| self.weigh(slot, active);
            Some(won(self, index, score, weigh).expect("nobody else counts"))
        }

        /// Gives `connections` to the backends, which keep them, and says how many each has.
        fn give(&mut self, connections: u32, slow_start: SlowStart, rng: &mut StdRng) -> Vec<u32> {
            self.slow_start = slow_start;
            for _ in 0..connections {
                let pick = self.scan(rng).expect("not empty");
                assert_eq!(self.active[pick.backend as usize], pick.seen);
                self.active[pick.backend as usize] += 1;
            }
            self.active[1..].to_vec()
        }

        /// Opens so many connections one after another, of which each is closed before the next, and
        /// says how many each backend has had.
        fn visit(&mut self, connections: u32, slow_start: SlowStart, rng: &mut StdRng) -> Vec<u32> {
            self.slow_start = slow_start;
            let mut had = vec![0; self.active.len()];
            for _ in 0..connections {
                had[self.scan(rng).expect("not empty").backend as usize] += 1;
            }
            had.split_off(1)
        }
    }

    impl Table for Host {
        fn slot(&self, index: u32) -> Slot {
            self.slots[index as usize]
        }
        fn active(&self, backend: u32) -> u32 {
            self.active[backend as usize]
        }
    }

    #[test]
    fn connections_are_shared_by_weight() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut host = Host::new(&[(1, 0), (2, 0), (3, 0)], &mut rng);
        assert_eq!(host.give(60, NO_SLOW_START, &mut rng), [10, 20, 30]);
        let mut host = Host::new(&[(1, 0), (1000, 0)], &mut rng);
        assert_eq!(host.give(1001, NO_SLOW_START, &mut rng), [1, 1000]);
        let mut host = Host::new(&[(7, 0); 9], &mut rng);
        assert_eq!(host.give(9, NO_SLOW_START, &mut rng), [1; 9], "equal weights: none twice");
    }

    /// Chi-squared, 0.1% level: the weight is the chance where nothing is open.
    #[test]
    fn idle_backends_are_chosen_by_weight() {
        let mut rng = StdRng::seed_from_u64(5);
        for (weights, critical) in [
            (&[3, 1][..], 10.83),
            (&[1, 1, 1], 13.82),
            (&[1000, 1], 10.83),
            (&[1, 2, 3, 4, 5], 18.47),
            (&[1, 0, 9], 13.82),
        ] {
            let backends: Vec<_> = weights.iter().map(|weight| (*weight, 0)).collect();
            let sum: f64 = weights.iter().map(|weight| f64::from((*weight).max(1))).sum();
            let mut had = vec![0; weights.len()];
            // The salts of a row are drawn once for all of its connections: rows are drawn anew.
            for _ in 0..400 {
                let mut host = Host::new(&backends, &mut rng);
                for (had, more) in had.iter_mut().zip(host.visit(100, NO_SLOW_START, &mut rng)) {
                    *had += more;
                }
            }
            let chi: f64 = had
                .iter()
                .zip(weights)
                .map(|(had, weight)| {
                    let expected = 40_000.0 * f64::from((*weight).max(1)) / sum;
                    (f64::from(*had) - expected).powi(2) / expected
                })
                .sum();
            assert!(chi < critical, "{weights:?}: {had:?}, chi squared {chi:.1}");
        }
    }

    #[test]
    fn a_new_backend_comes_to_its_share_step_by_step() {
        let mut rng = StdRng::seed_from_u64(2);
        let window = 1000;
        for (age, share) in
            [(0, 9..=11), (250, 24..=26), (500, 49..=51), (1000, 99..=101), (9000, 99..=101)]
        {
            let mut host = Host::new(&[(1, 0), (1, 0), (1, 10_000)], &mut rng);
            host.active = vec![PAD_ACTIVE, 100, 100, 0];
            let given = host.give(600, SlowStart { now: 10_000 + age, window }, &mut rng);
            let percent = 100 * given[2] / given[0];
            assert!(share.contains(&percent), "age {age}: {given:?}");
        }
    }

    #[test]
    fn a_new_backend_gets_more_in_each_tenth_also_of_connections_one_after_another() {
        let mut rng = StdRng::seed_from_u64(6);
        let mut host = Host::new(&[(1, 0), (1, 10_000)], &mut rng);
        let tenths: Vec<_> = (0..10)
            .map(|tenth| {
                let slow = SlowStart { now: 10_000 + tenth * 100 + 50, window: 1000 };
                host.visit(20_000, slow, &mut rng)[1]
            })
            .collect();
        assert!(tenths.is_sorted_by(|a, b| a < b), "{tenths:?}");
        assert!((1_000..2_500).contains(&tenths[0]), "{tenths:?}");
        assert!((9_000..10_500).contains(&tenths[9]), "{tenths:?}");
    }

    #[test]
    fn backends_that_are_all_new_are_equal() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut host = Host::new(&[(1, 100); 4], &mut rng);
        assert_eq!(host.give(8, SlowStart { now: 105, window: 1000 }, &mut rng), [2; 4]);
    }

    #[test]
    fn suspects_are_chosen_only_among_themselves() {
        let mut rng = StdRng::seed_from_u64(8);
        let mut host = Host::new(&[(1000, 0), (1, 0), (1, 0)], &mut rng);
        host.active[1] |= SUSPECT;
        assert_eq!(host.visit(100, NO_SLOW_START, &mut rng)[0], 0);
        host.active = vec![PAD_ACTIVE, SUSPECT + 4, SUSPECT + 3, SUSPECT + 9];
        assert_eq!(host.visit(100, NO_SLOW_START, &mut rng), [100, 0, 0], "4 for 1,000, 3 for 1");
    }

    #[test]
    fn scores_keep_their_order_and_never_look_like_padding() {
        let slow = SlowStart { now: 10_000, window: 1000 };
        let score = |active, weight, since| slow.weigh(active, weight, since).score;
        assert_eq!(slow.weigh(PAD_ACTIVE, 1, 0), Weight { score: NOTHING, share: 0 });
        assert!(score(SUSPECT - 1, 1, 10_000) < score(SUSPECT, 1000, 0));
        assert!(score(2 * SUSPECT - 2, 1, 10_000) < NOTHING);
        for active in [0, 1, 1000, 100_000] {
            assert!(score(active, 1000, 0) < score(active + 1, 1000, 0), "{active}");
        }
        assert_eq!(score(3, 0, 0), score(3, 1, 0), "a weight of 0 is taken as the smallest");
    }

    #[test]
    fn only_padding_is_nothing() {
        let mut rng = StdRng::seed_from_u64(4);
        let host = Host::new(&[], &mut rng);
        let host = Host { slots: vec![Slot::PAD; 8], ..host };
        assert_eq!(host.scan(&mut rng), None);
    }
}
