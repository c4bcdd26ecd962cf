//! A Service whose clients all start within some time.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

use super::super::{engine::Engine, figures::Figures};

/// Every node opens so many connections, at random moments within some time.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Start {
    pub(in super::super) nodes: usize,
    pub(in super::super) backends: usize,
    pub(in super::super) per_node: usize,
    pub(in super::super) within: Duration,
}

impl Start {
    pub(super) fn run(self, engine: &mut Engine<'_>, rng: &mut StdRng) -> Figures {
        let quiet = engine.quiet();
        let mut opens: Vec<(Duration, usize)> = (0..self.nodes * self.per_node)
            .map(|at| (quiet + self.within.mul_f64(rng.random()), at % self.nodes))
            .collect();
        opens.sort_unstable();
        for (at, node) in opens {
            engine.advance(at);
            engine.open(node, None);
        }
        Figures::of(engine.world.total().iter().copied())
    }
}
