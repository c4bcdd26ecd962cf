//! A pass: looks, plans, asks, ends.

mod ending;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use rand::Rng as _;

use super::{
    choosing::{Chosen, choose},
    cluster::{Authority, Cluster},
    corrections::Corrections,
    helper::Helper,
    history::{Ending, History},
    input::{Input, Mode},
    movable::{Asked, Drained, Movable},
    plan::{self, Hindered},
    prospect::{Look, Memory, Prospect, Remembered, moves},
    tally::{Fate, Tally},
};
use crate::{
    desired::Desired,
    maps::{KeepSeats as _, MapsError, ReadMaps, Recorded, pinned::PinnedMaps},
    model::{Moving, ObjectRef, Reason},
    node::clock::now,
    view::RebalanceView,
};

/// Time between two passes while nothing waits.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest: a tick of the kernel's clock.
const LEAST: Duration = Duration::from_millis(4);
/// Passes take one part of the time of a processor in so many.
const SHARE: u32 = 20;
/// Time between two passes at least of which what they remember is left to others.
const REMEMBER: Duration = Duration::from_secs(1);

/// Moves connections.
pub struct Mover {
    maps: PinnedMaps,
    /// Touches the sockets.
    helper: Helper,
    /// What the configuration says.
    configured: Moving,
    /// Who permits what, where there are other nodes.
    cluster: Cluster,
    /// What the counters don't say yet, for those who tell other nodes.
    corrections: Arc<Corrections>,
    asked: Asked,
    movable: Movable,
    history: History,
    tally: Arc<Tally>,
    /// Which connections are ended, for those who list connections.
    ended: Arc<Ended>,
    /// What is remembered, for those who ask what would be moved.
    remembered: Arc<Remembered>,
    /// Why connections of backends that drain were not ended in the last pass, by identifier.
    hindered: Arc<Held>,
    /// When it was left to those who ask what is remembered.
    remembered_at: Option<Duration>,
}

/// Which connections are ended, by the words of their charges, as of the last pass.
pub type Ended = Mutex<HashMap<u64, Ending>>;

/// Why connections of backends that drain were not ended in the last pass, by identifier.
pub type Held = Mutex<BTreeMap<u32, Hindered>>;

impl Mover {
    /// Will move connections.
    pub fn new(
        maps: PinnedMaps,
        helper: Helper,
        configured: Moving,
        tally: Arc<Tally>,
        ended: Arc<Ended>,
    ) -> Self {
        // What an agent has left that has ended.
        maps.forget_all_seats();
        Self {
            maps,
            helper,
            configured,
            cluster: Cluster::default(),
            corrections: Arc::default(),
            asked: Asked::default(),
            movable: Movable::default(),
            history: History::default(),
            tally,
            ended,
            remembered: Arc::default(),
            hindered: Arc::default(),
            remembered_at: None,
        }
    }

    /// What is remembered as of the last pass.
    pub const fn remembered(&self) -> &Arc<Remembered> {
        &self.remembered
    }

    /// Moves nothing any more for the sake of balance without that permits it.
    pub fn obey(&mut self, authority: Arc<dyn Authority>) {
        self.cluster.obey(authority);
        self.remember();
    }

    /// What the counters don't say yet of what was done.
    pub const fn corrections(&self) -> &Arc<Corrections> {
        &self.corrections
    }

    /// Why connections of backends that drain were not ended in the last pass, by identifier.
    pub const fn hindered(&self) -> &Arc<Held> {
        &self.hindered
    }

    /// Learns what has changed. Where the source may lack objects, nothing is taken for gone. What
    /// is desired is looked at for moments, and the maps are read between.
    pub fn learn<D: Deref<Target = Desired>>(
        &mut self,
        desired: impl Fn() -> D,
        lacking: bool,
    ) -> Result<(), MapsError> {
        self.movable = Movable::learn(&self.maps, desired, &self.configured, &self.asked, lacking)?;
        Ok(())
    }

    /// Takes which backends are drained. Takes effect when it learns next.
    pub fn drain(&mut self, drained: Drained) {
        self.asked.drained = drained;
    }

    /// Ends what is to be ended now. Says after which time it should do so again; none if that need
    /// not be before the next change.
    pub fn pass(&mut self) -> Option<Duration> {
        let started = processor_time();
        self.history.forget_closed(|index| self.maps.charge(index));
        self.cluster.refresh(now(), &self.maps);
        if self.movable.is_empty() {
            self.history.forget_looks();
            self.publish(BTreeMap::new());
            self.remember_at_times();
            return self.cluster.next(now());
        }
        let forced = self.forced();
        let mut input = self.movable.input(&self.maps, now(), &forced);
        // Somebody may want this node alone to move them.
        let alone = forced.into_iter().filter(|row| self.history.is_forced(*row)).collect();
        input.governed = self.cluster.govern(&input, &self.maps, &alone);
        let mut history = std::mem::take(&mut self.history);
        let demands = plan::demands(&input, &mut history);
        let failed = |found: &Recorded, reason, fate| {
            self.count(&input, found.service, reason, fate);
        };
        let Chosen { ends, spent: asking, soonest, quiet, hindered, .. } =
            choose(&input, &demands, true, &mut history, &self.maps, &self.helper, failed);
        let (ended, ending) = self.carry_out_seated(&input, ends, &mut history);
        self.cluster.ask(&input, &history, &quiet);
        let waits = plan::are_awaited(&demands, &ended, &quiet);
        let settles_in = plan::settles_in(&input, &history);
        self.history = history;
        self.publish(hindered);
        self.remember_at_times();
        self.asked.services.retain(|service| {
            self.movable
                .rows_of(service)
                .iter()
                .any(|row| self.history.is_forced(*row) || self.cluster.is_forced(*row))
        });
        // Whoever will have been quiet for long enough is met when that is so: the moment that is
        // the farthest from what its client does next.
        let next = soonest.filter(|_| waits).into_iter().chain(settles_in);
        let next = next.chain(self.cluster.next(now())).min();
        let pause = next.map_or(PAUSE, |next| next.clamp(LEAST, PAUSE));
        let spent = processor_time().saturating_sub(started) + asking + ending;
        tracing::debug!(
            connections = input.connections.len(),
            asked = plan::asked(&demands).len(),
            ended = ended.len(),
            micros = spent.as_micros() as u64,
            "a pass over connections"
        );
        // Each time another: with a fixed one, clients that send at a fixed rate would be looked at
        // in the same moment of it each time.
        let share = (spent * SHARE).mul_f64(rand::rng().random_range(1.0..1.5));
        // What is permitted is used within a second or not at all.
        let hurries = input.governed.values().any(|row| matches!(row.mode, Mode::Permitted(_)));
        Some(if hurries { pause } else { pause.max(share) })
    }

    /// Moves the connections of the Service to where there are fewer, now. Those of all nodes, unless
    /// this one is `alone`: then as their steward permits.
    pub fn rebalance<D: Deref<Target = Desired>>(
        &mut self,
        desired: impl Fn() -> D,
        service: &ObjectRef,
        alone: bool,
    ) -> Result<RebalanceView, MapsError> {
        let asked = self.asked.clone();
        let look = Look::new(&self.maps, desired, &self.configured, asked, service)?;
        let authority = self.cluster.authority().filter(|_| !alone);
        let failed = |input: &Input, found: &Recorded, reason, fate| {
            self.count(input, found.service, reason, fate);
        };
        let history = self.history.clone();
        let prospect = Prospect::new(look, history, authority, &self.maps, &self.helper, failed);
        let Prospect { look, input, mut history, ends, mut view, .. } = prospect;
        (self.asked, self.movable) = (look.asked, look.movable);
        if !input.governed.is_empty() {
            input.governed.keys().for_each(|row| self.cluster.force(*row, input.now));
            self.remember();
            return Ok(view);
        }
        let (ended, _) = self.carry_out(&input, &ends, &mut history);
        self.history = history;
        self.publish_ended();
        self.remember();
        view.moves = moves(&input, &self.movable, &self.maps, &ended);
        view.busy += (ends.len() - ended.len()) as u64;
        Ok(view)
    }

    /// Rows whose connections are moved because somebody asked for it.
    fn forced(&self) -> BTreeSet<u32> {
        self.asked.services.iter().flat_map(|service| self.movable.rows_of(service)).collect()
    }

    /// Tells those who ask what a pass has ended, and what was in its way.
    fn publish(&mut self, hindered: BTreeMap<u32, Hindered>) {
        let mut held = self.hindered.lock().unwrap_or_else(PoisonError::into_inner);
        *held = hindered;
        drop(held);
        self.publish_ended();
    }

    /// Tells those who list connections which were ended.
    fn publish_ended(&mut self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = self.history.all_ended();
        let settled = self.cluster.settled();
        let seated = self.cluster.rows_with_seats();
        self.corrections.finish(self.history.ended_charges(), seated, settled);
    }

    /// The same as [`Self::remember`], not after each pass: with many candidates, what is copied are
    /// megabytes.
    fn remember_at_times(&mut self) {
        let now = now();
        if self.remembered_at.is_none_or(|at| now.saturating_sub(at) >= REMEMBER) {
            self.remembered_at = Some(now);
            self.remember();
        }
    }

    /// Leaves what is remembered to those who ask what would be moved.
    fn remember(&self) {
        self.remembered.put(Memory {
            asked: self.asked.clone(),
            history: self.history.as_shown(),
            authority: self.cluster.authority().cloned(),
        });
    }

    fn count(&self, input: &Input, row: u32, reason: Option<Reason>, fate: Fate) {
        if let (Some((port, _)), Some(reason)) = (self.movable.port(row), reason) {
            self.tally.count(input.now, &port.service, reason, fate);
        }
    }
}

/// What this thread has spent. Time alone would have it wait longest where the node is busiest.
fn processor_time() -> Duration {
    // Every Linux has this clock.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
