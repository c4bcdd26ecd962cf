//! Backends are replaced one after another, and their connections come back at once.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

use super::{
    super::{engine::Engine, figures::Figures, world::World},
    even_prefill,
};

/// Between two backends.
const APART: Duration = Duration::from_secs(13);
/// How long a new pod is ready before the old one goes, and how much later than that where there is
/// no surge.
const SURGE: Duration = Duration::from_secs(2);
const RETURN: Duration = Duration::from_secs(3);
/// Within which time clients connect again.
const WITHIN: Duration = Duration::from_millis(100);

/// Every backend is replaced once.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Rollout {
    pub(in super::super) nodes: usize,
    pub(in super::super) backends: usize,
    pub(in super::super) per_node: usize,
    /// Whether the new pod is ready before the old one goes.
    pub(in super::super) surge: bool,
}

impl Rollout {
    /// The replacement of backend `n` is `backends + n`.
    pub(super) fn world(&self) -> World {
        let mut world = World::new(self.nodes, 2 * self.backends);
        world.set_row(&(0..self.backends).collect::<Vec<_>>());
        world
    }

    pub(super) fn run(self, engine: &mut Engine<'_>, rng: &mut StdRng) -> Figures {
        even_prefill(engine, self.per_node, self.backends, rng);
        let mut row: Vec<usize> = (0..self.backends).collect();
        for old in 0..self.backends {
            let new = self.backends + old;
            let leaves = engine.now() + APART;
            if self.surge {
                engine.advance(leaves - SURGE);
                row.push(new);
                engine.set_row(&row);
            }
            engine.advance(leaves);
            row.retain(|backend| *backend != old);
            engine.set_row(&row);
            let connected = |node| vec![node; engine.world.own(node)[old] as usize];
            let mut back: Vec<(Duration, usize)> = (0..self.nodes)
                .flat_map(connected)
                .map(|node| (leaves + WITHIN.mul_f64(rng.random()), node))
                .collect();
            back.sort_unstable();
            for (at, node) in back {
                engine.advance(at);
                engine.close(node, old);
                engine.open(node, None);
            }
            if !self.surge {
                engine.advance(leaves + RETURN);
                row.push(new);
                engine.set_row(&row);
            }
        }
        Figures::of(row.iter().map(|backend| engine.world.total()[*backend]))
    }
}
