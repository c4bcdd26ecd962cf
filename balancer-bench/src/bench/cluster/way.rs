//! Ways to choose a backend: by dice, by the connections of the node, by those of all nodes.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

use super::world::World;

/// How long what was there before a workload has been there, so that all have heard of it.
const QUIET: Duration = Duration::from_secs(20);

/// Who chooses. Times are since the beginning.
pub(super) trait Way {
    /// Chooses a backend for a new connection of a node.
    fn choose(&mut self, world: &World, node: usize, now: Duration) -> usize;

    /// Hears that a new connection of a node goes to a backend that the workload has chosen.
    fn place(&mut self, _world: &World, _node: usize, _backend: usize) {}

    /// Hears that a node has opened a connection to a backend, where it is new, or closed one.
    fn changed(&mut self, _world: &World, _node: usize, _backend: usize, _is_new: bool) {}

    /// Hears that rows of the world have changed.
    fn rows_changed(&mut self, _world: &World, _now: Duration) {}

    /// Ends all agents.
    fn end_agents(&mut self) {}

    /// When there is something to do that no connection brings about.
    fn due(&self) -> Option<Duration> {
        None
    }

    /// Does it.
    fn run(&mut self, _world: &World, _now: Duration) {}

    /// Waits until a moment, where time is not simulated.
    fn wait(&mut self, _world: &World, _until: Duration) {}

    /// How long a workload should wait until all have heard of what was there before.
    fn quiet(&self) -> Duration {
        QUIET
    }
}

/// Each backend with the same chance, as kube-proxy.
pub(super) struct Dice(pub(super) StdRng);

impl Way for Dice {
    fn choose(&mut self, world: &World, node: usize, _now: Duration) -> usize {
        let row = world.row(node);
        row[self.0.random_range(0..row.len())]
    }
}

/// The fewest connections of the node that chooses.
pub(super) struct Local(pub(super) StdRng);

impl Way for Local {
    fn choose(&mut self, world: &World, node: usize, _now: Duration) -> usize {
        least(world.row(node), world.own(node), &mut self.0)
    }
}

/// The fewest connections of all nodes, known to all at once: the best that can be.
pub(super) struct Ideal(pub(super) StdRng);

impl Way for Ideal {
    fn choose(&mut self, world: &World, node: usize, _now: Duration) -> usize {
        least(world.row(node), world.total(), &mut self.0)
    }
}

/// The backend of a row with the least count; ties at random.
fn least(row: &[usize], counts: &[u32], rng: &mut StdRng) -> usize {
    let mut best = (u32::MAX, u32::MAX, 0);
    for &backend in row {
        best = best.min((counts[backend], rng.random(), backend));
    }
    best.2
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn ideal_sees_what_other_nodes_have_and_local_does_not() {
        let mut world = World::new(2, 3);
        for backend in [0, 0, 1] {
            world.open(0, backend);
        }
        world.open(1, 2);
        world.open(1, 2);
        let rng = || StdRng::seed_from_u64(1);
        assert_eq!(Ideal(rng()).choose(&world, 0, Duration::ZERO), 1);
        assert_eq!(Local(rng()).choose(&world, 0, Duration::ZERO), 2);
        world.set_row_of(0, &[0]);
        assert_eq!(Dice(rng()).choose(&world, 0, Duration::ZERO), 0);
    }
}
