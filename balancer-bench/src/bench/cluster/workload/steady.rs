//! Connections come and go at random.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

use super::super::{
    engine::{Engine, exponential},
    figures::Figures,
    world::World,
};

/// Moments that are measured.
const SAMPLES: u32 = 400;
/// Time before the first of them, in lifetimes, and at most in seconds.
const WARM_UP: (f64, f64) = (2.0, 200.0);
/// Time in which they are, in lifetimes, and in seconds at least and at most.
const MEASURED: (f64, f64, f64) = (2.0, 60.0, 200.0);

/// Which backends a node may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Rows {
    /// All.
    All,
    /// Those of its zone, of three.
    OfZone,
    /// Those of its zone, or, every other node, all.
    Mixed,
}

/// Connections come at random times from random nodes, and live for random times.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Steady {
    pub(in super::super) nodes: usize,
    pub(in super::super) backends: usize,
    /// Connections of a backend, on average.
    pub(in super::super) mean: f64,
    /// Mean life of a connection, in seconds.
    pub(in super::super) life: f64,
    pub(in super::super) rows: Rows,
    /// Whether all agents end, a lifetime before anything is measured.
    pub(in super::super) agents_end: bool,
}

impl Steady {
    /// True if all nodes have the same row, and their agents do not end.
    pub(in super::super) fn is_plain(&self) -> bool {
        self.rows == Rows::All && !self.agents_end
    }

    pub(in super::super) fn world(&self) -> World {
        const ZONES: usize = 3;
        let mut world = World::new(self.nodes, self.backends);
        for node in 0..self.nodes {
            let by_zone = match self.rows {
                Rows::All => false,
                Rows::OfZone => true,
                Rows::Mixed => node % 2 == 0,
            };
            if by_zone {
                let zone = node % ZONES;
                let row: Vec<usize> = (zone..self.backends).step_by(ZONES).collect();
                world.set_row_of(node, &row);
            }
        }
        world
    }

    pub(super) fn run(self, engine: &mut Engine<'_>, rng: &mut StdRng) -> Figures {
        let warm = (WARM_UP.0 * self.life).min(WARM_UP.1);
        let ends = self.agents_end.then(|| Duration::from_secs_f64(warm));
        let warm = if self.agents_end { warm + self.life } else { warm };
        let measured = (MEASURED.0 * self.life).clamp(MEASURED.1, MEASURED.2);
        let mut course = self.begin(engine, rng);
        if let Some(ends) = ends {
            course.go_on(engine, ends, rng);
            engine.end_agents();
        }
        let sample = |number: u32| {
            let after = measured * f64::from(number) / f64::from(SAMPLES);
            course.go_on(engine, Duration::from_secs_f64(warm + after), rng);
            Figures::of(engine.world.total().iter().copied())
        };
        Figures::mean(&(0..SAMPLES).map(sample).collect::<Vec<_>>())
    }

    /// Lets connections come and go up to a moment.
    pub(in super::super) fn last(self, engine: &mut Engine<'_>, until: Duration, rng: &mut StdRng) {
        self.begin(engine, rng).go_on(engine, until, rng);
    }

    /// As many connections as there are on average, evenly over the backends.
    fn begin(self, engine: &mut Engine<'_>, rng: &mut StdRng) -> Course {
        let connections = self.mean * self.backends as f64;
        let place = |number: usize| {
            let node = rng.random_range(0..self.nodes);
            let row = engine.world.row(node);
            (row[number % row.len()], node, exponential(self.life, rng))
        };
        let mut placed: Vec<_> = (0..connections.round() as usize).map(place).collect();
        placed.sort_unstable();
        for (backend, node, life) in placed {
            engine.place(node, backend, Some(life));
        }
        Course { steady: self, opens_at: Duration::ZERO }
    }
}

/// Where it stands.
struct Course {
    steady: Steady,
    /// When the next connection comes.
    opens_at: Duration,
}

impl Course {
    fn go_on(&mut self, engine: &mut Engine<'_>, until: Duration, rng: &mut StdRng) {
        let Steady { nodes, backends, mean, life, .. } = self.steady;
        while self.opens_at < until {
            engine.advance(self.opens_at);
            engine.open(rng.random_range(0..nodes), Some(exponential(life, rng)));
            self.opens_at += exponential(life / (mean * backends as f64), rng);
        }
        engine.advance(until);
    }
}
