//! A pass: looks, plans, asks, ends.

mod choosing;
mod ending;

use std::{
    collections::{BTreeSet, HashMap},
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use rand::Rng as _;

use self::choosing::Chosen;
use super::{
    cluster::{Authority, Cluster},
    corrections::Corrections,
    helper::Helper,
    history::History,
    input::{End, Input, Mode},
    movable::{Asked, Drained, Movable},
    plan,
    report::{move_view, shares, waits},
    tally::{Fate, Tally},
};
use crate::{
    desired::Desired,
    maps::{KeepSeats as _, MapsError, ReadMaps, pinned::PinnedMaps},
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
    /// Since when which connections are ended, for those who list connections.
    ended: Arc<Ended>,
}

/// Since when which connections are ended, by the words of their charges, as of the last pass.
pub type Ended = Mutex<HashMap<u64, Duration>>;

/// A Service whose connections are to be moved.
#[derive(Debug)]
pub struct Look {
    service: ObjectRef,
    asked: Asked,
    movable: Movable,
}

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
        }
    }

    /// Moves nothing any more for the sake of balance without that permits it.
    pub fn obey(&mut self, authority: Arc<dyn Authority>) {
        self.cluster.obey(authority);
    }

    /// What the counters don't say yet of what was done.
    pub const fn corrections(&self) -> &Arc<Corrections> {
        &self.corrections
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
            self.publish();
            return self.cluster.next(now());
        }
        let forced = self.forced();
        let mut input = self.movable.input(&self.maps, now(), &forced);
        // Somebody may want this node alone to move them.
        let alone = forced.into_iter().filter(|row| self.history.is_forced(*row)).collect();
        input.governed = self.cluster.govern(&input, &self.maps, &alone);
        let mut history = std::mem::take(&mut self.history);
        let demands = plan::demands(&input, &mut history);
        let Chosen { ends, spent: asking, soonest, quiet, .. } =
            self.choose(&input, &demands, true, &mut history);
        let (ended, ending) = self.carry_out_seated(&input, ends, &mut history);
        self.cluster.ask(&input, &history, &quiet);
        let waits = plan::are_awaited(&demands, &ended, &quiet);
        let settles_in = plan::settles_in(&input, &history);
        self.history = history;
        self.publish();
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

    /// Looks at a Service whose connections are to be moved, whatever its policy says.
    pub fn look<D: Deref<Target = Desired>>(
        &self,
        desired: impl Fn() -> D,
        service: &ObjectRef,
    ) -> Result<Look, MapsError> {
        let mut asked = self.asked.clone();
        asked.services.insert(service.clone());
        // Nothing is to be ended here because its backend is gone.
        let movable = Movable::learn(&self.maps, desired, &self.configured, &asked, true)?;
        Ok(Look { service: service.clone(), asked, movable })
    }

    /// Moves the connections of the Service to where there are fewer, now; or says what it would
    /// do. Those of all nodes, unless this one is `alone`: then as their steward permits.
    pub fn rebalance(&mut self, look: Look, dry_run: bool, alone: bool) -> RebalanceView {
        let Look { service, asked, movable } = look;
        let rows = movable.rows_of(&service);
        let mut input = movable.input(&self.maps, now(), &rows);
        if !alone {
            input.governed = self.cluster.look(&rows, &input, &self.maps);
        }
        if !input.governed.is_empty() {
            let nodes = self.cluster.nodes();
            let backends = shares(&input, &movable, &self.maps, &rows, &self.history);
            if !dry_run {
                (self.asked, self.movable) = (asked, movable);
                input.governed.keys().for_each(|row| self.cluster.force(*row, input.now));
            }
            return RebalanceView { backends, nodes, ..RebalanceView::default() };
        }
        let mut history = self.history.clone();
        for row in &rows {
            history.force(input.now, *row);
        }
        let mut demands = plan::demands(&input, &mut history);
        demands.retain(|demand| demand.reason == Reason::Rebalance && rows.contains(&demand.row));
        let Chosen { ends, waiting, .. } = self.choose(&input, &demands, false, &mut history);
        let mut view = RebalanceView {
            backends: shares(&input, &movable, &self.maps, &rows, &history),
            nodes: 1,
            moves: Vec::new(),
            waiting: waits(&movable, &waiting),
            busy: plan::wanted(&demands).saturating_sub(ends.len()) as u64,
        };
        let views = |ends: &[End], maps: &PinnedMaps| {
            ends.iter().filter_map(|end| move_view(&input, &movable, maps, end)).collect()
        };
        if dry_run {
            view.moves = views(&ends, &self.maps);
            return view;
        }
        (self.asked, self.movable) = (asked, movable.clone());
        let (ended, _) = self.carry_out(&input, &ends, &mut history);
        self.history = history;
        self.publish();
        view.moves = views(&ended, &self.maps);
        view.busy += (ends.len() - ended.len()) as u64;
        view
    }

    /// Rows whose connections are moved because somebody asked for it.
    fn forced(&self) -> BTreeSet<u32> {
        self.asked.services.iter().flat_map(|service| self.movable.rows_of(service)).collect()
    }

    /// Tells those who list connections which were ended.
    fn publish(&mut self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = self.history.all_ended();
        let settled = self.cluster.settled();
        let seated = self.cluster.rows_with_seats();
        self.corrections.finish(self.history.ended_charges(), seated, settled);
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
