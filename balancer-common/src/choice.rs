//! Least connections, exactly: scan, uniform ties, reservation by compare-and-swap.
//!
//! The score of a backend is its counter of open connections (by weight: [`crate::weighted`]). The
//! smallest score wins, ties are broken uniformly at random, and the winner is reserved before `connect()` goes on: the counter
//! is raised from the value that was seen, or the scan is done again. Two processors that see the
//! same least backend at the same time therefore never both take it.
//!
//! # Ties
//!
//! A scan keeps one 64-bit key per slot and looks for the smallest:
//!
//! ```text
//! 63           32 31            0
//! [ open sockets ][ salt * a    ]
//! ```
//!
//! `a` is a random odd number per connection, the salt was drawn when the row was written. The
//! obvious `index ^ random` is *not* uniform: of three tied slots 0, 1, 2 under a two-bit mask, slot 2
//! wins half of the draws. With independent salts, each of any set of tied slots has the smallest
//! product equally often, since products of random numbers with the same factor are spread evenly over
//! all combinations. The lowest bits of a salt are the index of its slot, and an odd factor can be
//! undone: the winner's index comes out of its key, so that a slot costs one multiplication and
//! nothing else needs to be remembered. And the verifier knows nothing of `a`, hence nothing of the
//! winner; it would follow every possible one separately.

use crate::layout::{MAX_SCAN, PAD_ACTIVE, Slot};

/// Bits of a salt that hold the index of its slot.
const INDEX_BITS: u32 = 12;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const _: () = assert!(MAX_SCAN <= 1 << INDEX_BITS);

/// Random slots compared where a row is too long to be scanned.
pub const SAMPLES: u32 = 16;

/// How often a lost reservation is tried again before the counter is raised regardless.
pub const TRIES: u32 = 16;

/// The counters and one row, or a part of it, as the choice sees them.
pub trait Table {
    /// The slot at `index` of the row, or of the part. May be called for padding.
    fn slot(&self, index: u32) -> Slot;
    /// The word of the counters of a backend: its open connections, with the bit of
    /// [`crate::suspect`]; [`PAD_ACTIVE`] for padding.
    fn active(&self, backend: u32) -> u32;
}

/// The salt of the slot at `index` of its row, from a random word. Its random part is odd, since a
/// product has no more random bits than the salt has bits above its lowest 1.
#[inline(always)]
pub const fn salt(random: u32, index: u32) -> u32 {
    random & !INDEX_MASK | 1 << INDEX_BITS | index & INDEX_MASK
}

/// No key is larger: a score has 31 bits.
pub const NO_KEY: u64 = u64::MAX >> 1;

/// Randomness for one scan.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    a: u32,
}

impl Draw {
    /// From a uniformly random word.
    #[inline(always)]
    pub const fn new(random: u32) -> Self {
        Self { a: random | 1 }
    }

    /// What salts are multiplied with.
    #[inline(always)]
    pub const fn factor(self) -> u32 {
        self.a
    }

    /// The key of a slot with a score.
    #[inline(always)]
    pub const fn key(self, score: u32, salt: u32) -> u64 {
        (score as u64) << 32 | salt.wrapping_mul(self.a) as u64
    }

    /// The index and the score of the smallest key of a row. `None` only where every backend is
    /// padding.
    #[inline(always)]
    pub const fn winner(self, key: u64) -> Option<(u32, u32)> {
        let score = (key >> 32) as u32;
        if score == PAD_ACTIVE {
            return None;
        }
        Some(((key as u32).wrapping_mul(self.inverse()) & INDEX_MASK, score))
    }

    /// What undoes the factor in the lowest 12 bits (Newton's method: an odd number is its own inverse
    /// in 3 bits, and each step doubles them).
    #[inline(always)]
    const fn inverse(self) -> u32 {
        let six = self.a.wrapping_mul(2u32.wrapping_sub(self.a.wrapping_mul(self.a)));
        six.wrapping_mul(2u32.wrapping_sub(self.a.wrapping_mul(six)))
    }
}

/// A backend and the value of its counter that won it the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The chosen backend.
    pub backend: u32,
    /// Its counter as the scan saw it: what the reservation must compare with.
    pub seen: u32,
}

/// Slots that are compared in one go. Programs do that in a function of its own, which the verifier
/// follows once and not once for every part of a row.
pub const PART: u32 = 128;

/// The smallest of `best` and the keys of the first `len` slots of a part; more than `PART` are not
/// looked at. To go on from the best so far, and not from nothing, saves the processor most of the
/// branches that it would predict wrongly.
#[inline(always)]
pub fn part<const PART: u32, T: Table>(table: &T, len: u32, draw: Draw, mut best: u64) -> u64 {
    let mut index = 0;
    while index < PART {
        if index >= len {
            break;
        }
        let slot = table.slot(index);
        let key = draw.key(table.active(slot.backend), slot.salt);
        if key < best {
            best = key;
        }
        index += 1;
    }
    best
}

/// Slots at the start of a row that programs compare in another way than those behind them.
pub const FIRST: u32 = 16;

/// The smallest key of a row of `len` backends, at least one and at most [`MAX_SCAN`]. `first` is that of
/// its [`FIRST`] slots, and `part` is [`part`] from the given start and best.
#[inline(always)]
pub fn scan<const PART: u32>(
    len: u32,
    first: impl Fn() -> u64,
    part: impl Fn(u32, u64) -> u64,
) -> u64 {
    let mut best = first();
    let mut start = FIRST;
    while start < MAX_SCAN {
        if start >= len {
            break;
        }
        best = part(start, best);
        start += PART;
    }
    best
}

/// The least loaded of [`SAMPLES`] random slots of a row of `len` backends, for rows too long to
/// be scanned. `random` yields uniformly random words.
#[inline(always)]
pub fn sample<T: Table>(table: &T, len: u32, mut random: impl FnMut() -> u32) -> Option<Pick> {
    let mut best = Pick { backend: 0, seen: PAD_ACTIVE };
    let mut round = 0;
    while round < SAMPLES {
        let backend = table.slot(below(random(), len)).backend;
        let active = table.active(backend);
        if active < best.seen {
            best = Pick { backend, seen: active };
        }
        round += 1;
    }
    if best.seen == PAD_ACTIVE { None } else { Some(best) }
}

/// The less loaded of two different random slots of a row of `len` backends, at least one.
#[inline(always)]
pub fn pair<T: Table>(table: &T, len: u32, mut random: impl FnMut() -> u32) -> u32 {
    let first = below(random(), len);
    let one = table.slot(first).backend;
    if len < 2 {
        return one;
    }
    let mut second = first + 1 + below(random(), len - 1);
    if second >= len {
        second -= len;
    }
    let other = table.slot(second).backend;
    // Each is the first as often as the other: a tie needs no draw.
    if table.active(other) < table.active(one) { other } else { one }
}

/// A number below `len` from a random word, uniform to within `len / 2^32` (Lemire's reduction).
#[inline(always)]
pub const fn below(random: u32, len: u32) -> u32 {
    ((random as u64 * len as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::layout::{PAD_BACKEND, Row};

    struct Host {
        slots: Vec<Slot>,
        active: Vec<u32>,
    }

    impl Host {
        /// Backends 1..=n in a padded row.
        fn new(active: &[u32], rng: &mut StdRng) -> Self {
            let len = active.len() as u32;
            let mut slots: Vec<_> = (0..len)
                .map(|at| Slot { backend: at + 1, weight: 1, salt: salt(rng.random(), at) })
                .collect();
            slots.resize(Row::width(len).max(MAX_SCAN) as usize, Slot::PAD);
            let mut counters = vec![PAD_ACTIVE];
            counters.extend_from_slice(active);
            Self { slots, active: counters }
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

    fn scan(host: &Host, len: u32, draw: Draw) -> Option<Pick> {
        let first = || part::<FIRST, _>(host, len, draw, NO_KEY);
        let key = super::scan::<PART>(len, first, |start, best| {
            part::<PART, _>(&From(host, start), len - start, draw, best)
        });
        draw.winner(key).map(|(index, seen)| Pick { backend: host.slot(index).backend, seen })
    }

    fn draw(rng: &mut StdRng) -> Draw {
        Draw::new(rng.random())
    }

    #[test]
    fn the_smallest_counter_wins_at_every_length_and_place() {
        let mut rng = StdRng::seed_from_u64(1);
        for len in [1usize, 2, 7, 8, 9, 16, 17, 127, 143, 144, 145, 1000, 1024] {
            for _ in 0..20 {
                let least = rng.random_range(0..len);
                let mut counts: Vec<u32> = (0..len).map(|_| rng.random_range(4..9)).collect();
                counts[least] = 3;
                let host = Host::new(&counts, &mut rng);
                let pick = scan(&host, len as u32, draw(&mut rng));
                assert_eq!(pick, Some(Pick { backend: least as u32 + 1, seen: 3 }), "{len}");
            }
        }
    }

    #[test]
    fn every_index_comes_out_of_its_key() {
        let mut rng = StdRng::seed_from_u64(7);
        for index in (0..1 << INDEX_BITS).cycle().take(20_000) {
            let draw = draw(&mut rng);
            let key = draw.key(3, salt(rng.random(), index));
            assert_eq!(draw.winner(key), Some((index, 3)), "{draw:?}");
        }
    }

    /// Chi-squared against the uniform distribution, 0.1% level, over rows drawn anew: a fixed
    /// order, or `index ^ mask` alone, misses this by orders of magnitude.
    #[test]
    fn ties_are_uniform() {
        let mut rng = StdRng::seed_from_u64(2);
        for (tied, total, critical) in
            [(2, 2, 10.83), (3, 3, 13.82), (3, 8, 13.82), (5, 5, 18.47), (100, 128, 148.23)]
        {
            let mut wins = vec![0u32; tied];
            let rounds = 60_000u32;
            let mut host = Host::new(&[1], &mut rng);
            for round in 0..rounds {
                if round % 100 == 0 {
                    let counts: Vec<u32> = (0..total).map(|i| u32::from(i >= tied)).collect();
                    host = Host::new(&counts, &mut rng);
                }
                let pick = scan(&host, total as u32, draw(&mut rng)).expect("not empty");
                wins[pick.backend as usize - 1] += 1;
            }
            let expected = f64::from(rounds) / tied as f64;
            let chi: f64 = wins.iter().map(|w| (f64::from(*w) - expected).powi(2) / expected).sum();
            assert!(chi < critical, "{tied} of {total} tied: {wins:?}, chi squared {chi:.1}");
        }
    }

    #[test]
    fn a_single_row_is_close_to_uniform_too() {
        let mut rng = StdRng::seed_from_u64(3);
        let host = Host::new(&[0; 5], &mut rng);
        let mut wins = [0u32; 5];
        for _ in 0..100_000 {
            wins[scan(&host, 5, draw(&mut rng)).expect("not empty").backend as usize - 1] += 1;
        }
        let (low, high) = (wins.iter().min().unwrap(), wins.iter().max().unwrap());
        assert!(f64::from(*high) / f64::from(*low) < 1.06, "{wins:?}");
    }

    #[test]
    fn padding_never_wins() {
        let mut rng = StdRng::seed_from_u64(4);
        let host = Host::new(&[], &mut rng);
        assert_eq!(scan(&host, 8, draw(&mut rng)), None);
        let mut host = Host::new(&[PAD_ACTIVE - 1], &mut rng);
        assert_eq!(scan(&host, 1, draw(&mut rng)).map(|p| p.backend), Some(1));
        host.slots[0] = Slot { backend: PAD_BACKEND, weight: 1, salt: 9 };
        assert_eq!(scan(&host, 1, draw(&mut rng)), None);
    }

    #[test]
    fn a_pair_takes_the_less_loaded_of_two_different_ones() {
        let mut rng = StdRng::seed_from_u64(6);
        let host = Host::new(&[5, 0], &mut rng);
        for _ in 0..1000 {
            assert_eq!(pair(&host, 2, || rng.random()), 2, "both are always looked at");
        }
        assert_eq!(pair(&Host::new(&[9], &mut rng), 1, || 7), 1);
        let host = Host::new(&[0; 4], &mut rng);
        let mut wins = [0u32; 4];
        for _ in 0..40_000 {
            wins[pair(&host, 4, || rng.random()) as usize - 1] += 1;
        }
        assert!(wins.iter().all(|w| (9500..10_500).contains(w)), "{wins:?}");
    }

    #[test]
    fn a_sample_takes_the_least_of_what_it_saw() {
        let mut rng = StdRng::seed_from_u64(5);
        let counts: Vec<u32> = (0..5000).map(|i| i % 10 + 1).collect();
        let host = Host::new(&counts, &mut rng);
        let mut sum = 0;
        for _ in 0..1000 {
            sum += sample(&host, 5000, || rng.random()).expect("not empty").seen;
        }
        // The least of 16 draws from 1..=10 is 1 in 81% of the cases.
        assert!(sum < 1400, "mean of the least of {SAMPLES}: {}", f64::from(sum) / 1000.0);
    }
}
