//! Who opens connections when, and what is measured of it.

mod burst;
mod rollout;
mod start;
mod steady;
mod turns;

use rand::{SeedableRng as _, rngs::StdRng};

use super::{engine::Engine, figures::Figures, way::Way, world::World};

pub(super) use burst::Burst;
pub(super) use rollout::Rollout;
pub(super) use start::Start;
pub(super) use steady::{Rows, Steady};
pub(super) use turns::Turns;

/// A workload. Everything but the choice follows from the seed alone, so that all ways see the
/// same.
#[derive(Clone, Copy, Debug)]
pub(super) enum Workload {
    /// Connections come and go.
    Steady(Steady),
    /// Nothing is there, and all come.
    Start(Start),
    /// Nothing is there, and one node comes after another.
    Turns(Turns),
    /// One client opens many.
    Burst(Burst),
    /// Backends are replaced one after another.
    Rollout(Rollout),
}

impl Workload {
    /// Has a way to choose go through it.
    pub(super) fn run(self, way: &mut dyn Way, seed: u64) -> Figures {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut engine = Engine::new(self.world(), way);
        match self {
            Self::Steady(steady) => steady.run(&mut engine, &mut rng),
            Self::Start(start) => start.run(&mut engine, &mut rng),
            Self::Turns(turns) => turns.run(&mut engine),
            Self::Burst(burst) => burst.run(&mut engine, &mut rng),
            Self::Rollout(rollout) => rollout.run(&mut engine, &mut rng),
        }
    }

    /// The cluster before anything happens.
    pub(super) fn world(self) -> World {
        match self {
            Self::Steady(steady) => steady.world(),
            Self::Start(start) => World::new(start.nodes, start.backends),
            Self::Turns(turns) => World::new(turns.nodes, turns.backends),
            Self::Burst(burst) => World::new(burst.nodes, burst.backends),
            Self::Rollout(rollout) => rollout.world(),
        }
    }

    pub(super) fn nodes(self) -> usize {
        match self {
            Self::Steady(Steady { nodes, .. })
            | Self::Start(Start { nodes, .. })
            | Self::Turns(Turns { nodes, .. })
            | Self::Burst(Burst { nodes, .. })
            | Self::Rollout(Rollout { nodes, .. }) => nodes,
        }
    }
}

/// Gives every node so many connections, every backend as many as the next, which is whose at
/// random.
fn even_prefill(engine: &mut Engine<'_>, per_node: usize, backends: usize, rng: &mut StdRng) {
    use rand::seq::SliceRandom as _;

    let nodes = engine.world.nodes();
    let mut targets: Vec<usize> = (0..nodes * per_node).map(|at| at % backends).collect();
    targets.shuffle(rng);
    let mut placed: Vec<_> =
        targets.into_iter().enumerate().map(|(at, backend)| (backend, at / per_node)).collect();
    placed.sort_unstable();
    for (backend, node) in placed {
        engine.place(node, backend, None);
    }
}
