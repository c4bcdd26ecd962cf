//! Least connections by weight, and with it the slow start.
//!
//! The score of a backend is `(active + 1) / weight`: what its load would be with one connection
//! more. Between equal weights that is the order of `active`; with `active` alone, an idle backend
//! would get the next connection whatever its weight, and a slow start would be none.
//!
//! While a backend is new, its weight grows from a tenth to the whole over the window of the slow
//! start, so that it holds as large a part of its share as of the window has passed. The programs
//! compute it themselves: it goes on without an agent.

use crate::{
    choice::{Pick, Table},
    layout::PAD_ACTIVE,
};

/// Fraction bits of a score. Counters stay below 2^19 (`charge::MAX_CHARGES`), so that scores of
/// real backends fit into 32 bits, and two scores are told apart unless they differ by less than
/// a 4,096th of a connection per unit of weight.
const FRACTION: u32 = 12;

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

impl SlowStart {
    /// The score of a backend; [`PAD_ACTIVE`] for padding and nothing else.
    #[inline(always)]
    pub fn score(self, active: u32, weight: u32, since: u32) -> u32 {
        if active == PAD_ACTIVE {
            return PAD_ACTIVE;
        }
        let window = self.window as u64 + 1;
        let least = window / LEAST_PART as u64 + 1;
        let age = self.now.wrapping_sub(since) as u64 + 1;
        let age = if age > window { window } else { age };
        let age = if age < least { least } else { age };
        let share = weight as u64 * age;
        let share = if share == 0 { 1 } else { share };
        let score = ((active as u64 + 1) << FRACTION) * window / share;
        if score < PAD_ACTIVE as u64 { score as u32 } else { PAD_ACTIVE - 1 }
    }
}

/// The counter of a slot that won with a score. The key has no room for it, so that it is read
/// again; `Err` where it changed meanwhile and the scan must be done again.
#[inline(always)]
pub fn won<T: Table>(table: &T, index: u32, score: u32) -> Result<Pick, Changed> {
    let slot = table.slot(index);
    let seen = table.active(slot.backend);
    if table.score(slot) == score { Ok(Pick { backend: slot.backend, seen }) } else { Err(Changed) }
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
        choice::{self, Draw},
        layout::{Row, Slot},
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

        /// Gives `connections` to the backends, and says how many each has.
        fn give(&mut self, connections: u32, slow_start: SlowStart, rng: &mut StdRng) -> Vec<u32> {
            self.slow_start = slow_start;
            let len = (self.active.len() - 1) as u32;
            for _ in 0..connections {
                let pick = scan(self, len, Draw::new(rng.random()));
                let pick = pick.expect("not empty").expect("nobody else counts");
                assert_eq!(self.active[pick.backend as usize], pick.seen);
                self.active[pick.backend as usize] += 1;
            }
            self.active[1..].to_vec()
        }
    }

    impl Table for Host {
        fn slot(&self, index: u32) -> Slot {
            self.slots[index as usize]
        }
        fn active(&self, backend: u32) -> u32 {
            self.active[backend as usize]
        }
        fn score(&self, slot: Slot) -> u32 {
            let (active, since) = (self.active(slot.backend), self.since[slot.backend as usize]);
            self.slow_start.score(active, slot.weight as u32, since)
        }
    }

    /// All rows here are one part.
    fn scan(host: &Host, len: u32, draw: Draw) -> Option<Result<Pick, Changed>> {
        let key = choice::part::<{ choice::PART }, _>(host, len, draw, u64::MAX);
        draw.winner(key).map(|(index, score)| won(host, index, score))
    }

    #[test]
    fn connections_are_shared_by_weight() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut host = Host::new(&[(1, 0), (2, 0), (3, 0)], &mut rng);
        assert_eq!(host.give(60, NO_SLOW_START, &mut rng), [10, 20, 30]);
        let mut host = Host::new(&[(1, 0), (1000, 0)], &mut rng);
        assert_eq!(host.give(900, NO_SLOW_START, &mut rng), [0, 900]);
        let mut host = Host::new(&[(7, 0); 9], &mut rng);
        assert_eq!(host.give(9, NO_SLOW_START, &mut rng), [1; 9], "equal weights: none twice");
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
    fn backends_that_are_all_new_are_equal() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut host = Host::new(&[(1, 100); 4], &mut rng);
        assert_eq!(host.give(8, SlowStart { now: 105, window: 1000 }, &mut rng), [2; 4]);
    }

    #[test]
    fn scores_keep_their_order_and_never_look_like_padding() {
        let slow = SlowStart { now: 10_000, window: 1000 };
        assert_eq!(slow.score(PAD_ACTIVE, 1, 0), PAD_ACTIVE);
        assert!(slow.score(u32::MAX - 1, 1, 10_000) < PAD_ACTIVE);
        for active in [0, 1, 1000, 100_000] {
            let (less, more) = (slow.score(active, 1000, 0), slow.score(active + 1, 1000, 0));
            assert!(less < more, "{active}: {less} {more}");
        }
        assert!(slow.score(3, 0, 0) > 0, "a weight of 0 is taken as the smallest");
    }

    #[test]
    fn only_padding_is_nothing() {
        let mut rng = StdRng::seed_from_u64(4);
        let host = Host::new(&[], &mut rng);
        let host = Host { slots: vec![Slot::PAD; 8], ..host };
        assert_eq!(scan(&host, 8, Draw::new(1)), None);
    }
}
