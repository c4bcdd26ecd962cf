//! Simulated time: connections that end, and what agents do meanwhile.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use rand::{Rng as _, rngs::StdRng};

use super::{way::Way, world::World};

/// A world, who chooses in it, and the time.
pub(super) struct Engine<'a> {
    pub(super) world: World,
    way: &'a mut dyn Way,
    now: Duration,
    /// When which connection ends: node and backend.
    ends: BinaryHeap<Reverse<(Duration, usize, usize)>>,
}

impl<'a> Engine<'a> {
    pub(super) fn new(world: World, way: &'a mut dyn Way) -> Self {
        Self { world, way, now: Duration::ZERO, ends: BinaryHeap::new() }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Lets everything happen up to a moment.
    pub(super) fn advance(&mut self, to: Duration) {
        loop {
            let end = self.ends.peek().map(|Reverse((at, ..))| *at);
            let due = self.way.due();
            let next = [end, due].into_iter().flatten().min().filter(|next| *next <= to);
            let Some(next) = next else { break };
            self.way.wait(&self.world, next);
            self.now = self.now.max(next);
            if end == Some(next) {
                if let Some(Reverse((_, node, backend))) = self.ends.pop() {
                    self.close(node, backend);
                }
            } else {
                self.way.run(&self.world, self.now);
            }
        }
        self.way.wait(&self.world, to);
        self.now = to;
    }

    /// How long to wait until all have heard of what was there before.
    pub(super) fn quiet(&self) -> Duration {
        self.way.quiet()
    }

    /// Gives all nodes another row now.
    pub(super) fn set_row(&mut self, row: &[usize]) {
        self.world.set_row(row);
        self.way.rows_changed(&self.world, self.now);
    }

    /// Ends all agents; their programs stay.
    pub(super) fn end_agents(&mut self) {
        self.way.end_agents();
    }

    /// A node opens a connection now, which lives so long, or for ever.
    pub(super) fn open(&mut self, node: usize, life: Option<Duration>) -> usize {
        let backend = self.way.choose(&self.world, node, self.now);
        self.begin(node, backend, life);
        backend
    }

    /// The same to a given backend.
    pub(super) fn place(&mut self, node: usize, backend: usize, life: Option<Duration>) {
        self.way.place(&self.world, node, backend);
        self.begin(node, backend, life);
    }

    fn begin(&mut self, node: usize, backend: usize, life: Option<Duration>) {
        self.world.open(node, backend);
        self.way.changed(&self.world, node, backend, true);
        if let Some(life) = life {
            self.ends.push(Reverse((self.now + life, node, backend)));
        }
    }

    /// A connection of a node ends now.
    pub(super) fn close(&mut self, node: usize, backend: usize) {
        self.world.close(node, backend);
        self.way.changed(&self.world, node, backend, false);
    }
}

/// A time whose mean is this many seconds and of which nothing can be said from how long it has
/// been.
pub(super) fn exponential(mean: f64, rng: &mut StdRng) -> Duration {
    Duration::from_secs_f64(-mean * (1.0 - rng.random::<f64>()).ln())
}
