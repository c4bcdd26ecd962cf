//! The maps of a node, and the choice of its programs: one row.

use std::{rc::Rc, time::Duration};

use balancer_common::{
    choice::{self, Draw, NO_KEY, Pick, Table, salt},
    cluster::{self, Chances, ClusterTable},
    layout::{Counter, Level, MAX_SCAN, PAD_ACTIVE, Slot, is_fresh, milliseconds},
};
use rand::{Rng as _, rngs::StdRng};

/// What stands in the maps of a node. Backend `n` of the world has the identifier `n + 1`: 0 is the
/// padding.
pub(super) struct Kernel {
    row: Rc<[usize]>,
    slots: Vec<Slot>,
    counters: Vec<Counter>,
    level: Option<Level>,
}

impl Kernel {
    pub(super) fn new(backends: usize) -> Self {
        let mut counters = vec![Counter::default(); backends + 1];
        counters[0].active = PAD_ACTIVE;
        Self { row: [].into(), slots: Vec::new(), counters, level: None }
    }

    /// The identifier of a backend of the world.
    pub(super) const fn identifier(backend: usize) -> u32 {
        backend as u32 + 1
    }

    /// Writes a row. Its level holds until there is another.
    pub(super) fn set_row(&mut self, row: &Rc<[usize]>, rng: &mut StdRng) {
        self.row = Rc::clone(row);
        let slot = |(index, backend): (u32, &usize)| Slot {
            backend: Self::identifier(*backend),
            weight: 1,
            salt: salt(rng.random(), index),
        };
        self.slots = (0..).zip(row.iter()).map(slot).collect();
    }

    /// Writes how many connections other nodes have to a backend.
    pub(super) fn set_others(&mut self, identifier: u32, connections: u32) {
        if let Some(counter) = self.counters.get_mut(identifier as usize) {
            counter.others = Counter::others_of(connections);
        }
    }

    /// Writes the level of the row, which rests on what was told at a time.
    pub(super) fn set_level(&mut self, floor: u32, span: u32, told: Duration) {
        self.level = Some(Level { floor, span, fresh_ms: stamp(told) });
    }

    /// A connection of this node begins or ends.
    pub(super) fn set_active(&mut self, backend: usize, connections: u32) {
        self.counters[backend + 1].active = connections;
    }

    /// Chooses as the programs do, and returns the backend of the world.
    pub(super) fn choose(&self, now: Duration, rng: &mut StdRng) -> usize {
        let level = self.level.filter(|level| is_fresh(level.fresh_ms, stamp(now)));
        let pick = match level {
            Some(level) => self.choose_of_cluster(level, rng),
            None => self.choose_alone(rng),
        };
        // Without a backend there is no connection; the workloads leave none without.
        pick.map_or(0, |pick| pick.backend as usize - 1)
    }

    fn choose_of_cluster(&self, level: Level, rng: &mut StdRng) -> Option<Pick> {
        let len = self.row.len() as u32;
        if len > MAX_SCAN {
            return cluster::sample(self, len, || rng.random());
        }
        let (chances, band) = (Chances::new(rng.random()), level.band());
        let key = cluster::part::<MAX_SCAN, _>(self, len, chances, band, NO_KEY);
        // Nobody counts meanwhile, so that the counter that is read again is the same.
        cluster::won(self, key, chances, band)?.ok()
    }

    fn choose_alone(&self, rng: &mut StdRng) -> Option<Pick> {
        let len = self.row.len() as u32;
        if len > MAX_SCAN {
            return choice::sample(self, len, || rng.random());
        }
        let draw = Draw::new(rng.random());
        let key = choice::part::<MAX_SCAN, _>(self, len, draw, NO_KEY);
        draw.winner(key).map(|(index, seen)| Pick { backend: self.slot(index).backend, seen })
    }
}

/// A time for the maps. The node has been up for a while when the simulation begins.
fn stamp(at: Duration) -> u32 {
    const UPTIME: Duration = Duration::from_secs(3600);
    milliseconds((UPTIME + at).as_nanos() as u64)
}

impl Table for Kernel {
    fn slot(&self, index: u32) -> Slot {
        self.slots[index as usize]
    }

    fn active(&self, backend: u32) -> u32 {
        self.counters[backend as usize].active
    }
}

impl ClusterTable for Kernel {
    fn others(&self, backend: u32) -> u32 {
        self.counters[backend as usize].others
    }
}
