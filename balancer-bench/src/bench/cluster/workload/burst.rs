//! One client pod restarts among others that stay.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

use super::super::{engine::Engine, figures::Figures};

/// Within which time the client opens its connections.
const WITHIN: Duration = Duration::from_millis(100);

/// Nodes have a connection each, to backends at random; then one node opens many.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Burst {
    pub(in super::super) nodes: usize,
    pub(in super::super) backends: usize,
    pub(in super::super) connections: u32,
}

impl Burst {
    pub(super) fn run(self, engine: &mut Engine<'_>, rng: &mut StdRng) -> Figures {
        let place = |node| (rng.random_range(0..self.backends), node);
        let mut placed: Vec<_> = (0..self.nodes).map(place).collect();
        placed.sort_unstable();
        for (backend, node) in placed {
            engine.place(node, backend, None);
        }
        let (node, quiet) = (rng.random_range(0..self.nodes), engine.quiet());
        for number in 0..self.connections {
            engine.advance(quiet + WITHIN * number / self.connections);
            engine.open(node, None);
        }
        Figures::of(engine.world.total().iter().copied())
    }
}
