//! The way from node to node: datagrams are late, lost, doubled or cut off.

use std::{collections::BTreeSet, time::Duration};

use rand::{Rng as _, rngs::StdRng};

/// How many of 100 datagrams something happens to, and whose are lost.
#[derive(Default)]
pub(crate) struct Network {
    pub(crate) lossy: u32,
    pub(crate) twice: u32,
    pub(crate) late: u32,
    cut: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        self.cut.remove(&(from, to));
    }

    /// True while nothing comes from some node to some other one.
    pub(crate) fn is_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    /// After which times a datagram arrives.
    pub(crate) fn carry(&self, from: usize, to: usize, rng: &mut StdRng) -> Vec<Duration> {
        let copies = 1 + usize::from(rng.random_range(0..100) < self.twice);
        let mut arrive = Vec::new();
        for _ in 0..copies {
            let is_late = rng.random_range(0..100) < self.late;
            let micros = rng.random_range(100..if is_late { 2_000_000 } else { 10_000 });
            let is_lost = rng.random_range(0..100) < self.lossy;
            if !is_lost && !self.cut.contains(&(from, to)) {
                arrive.push(Duration::from_micros(micros));
            }
        }
        arrive
    }
}
