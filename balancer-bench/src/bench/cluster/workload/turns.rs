//! Client pods that start one after another, each on a node of its own.

use std::time::Duration;

use super::super::{engine::Engine, figures::Figures};

/// Between two client pods.
const APART: Duration = Duration::from_millis(200);

/// One node after another opens so many connections.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Turns {
    pub(in super::super) nodes: usize,
    pub(in super::super) backends: usize,
    pub(in super::super) per_node: usize,
}

impl Turns {
    pub(super) fn run(self, engine: &mut Engine<'_>) -> Figures {
        // Clients that were there before: what they opened is long ago.
        for node in 0..self.nodes {
            let backend = engine.open(node, None);
            engine.close(node, backend);
        }
        let mut at = engine.quiet();
        for node in 0..self.nodes {
            engine.advance(at);
            for _ in 0..self.per_node {
                engine.open(node, None);
            }
            at += APART;
        }
        Figures::of(engine.world.total().iter().copied())
    }
}
