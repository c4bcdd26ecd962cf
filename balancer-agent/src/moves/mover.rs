//! A pass: looks, plans, asks, ends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use rand::Rng as _;

use super::{
    ask::{Answer, address},
    end::{Order, Outcome},
    helper::Helper,
    history::History,
    input::{Demand, End, Input, backend},
    looks::Seen,
    movable::{Asked, Drained, Movable},
    plan::{self, Waiting},
    report::{move_view, shares, waits},
    tally::{Fate, Tally},
};
use crate::{
    desired::Desired,
    maps::{MapsError, ReadMaps, pinned::PinnedMaps},
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
    cluster: Moving,
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

/// What is to be ended now.
struct Chosen {
    ends: Vec<End>,
    /// What that took of a processor, elsewhere.
    spent: Duration,
    /// After which time there may be more.
    soonest: Option<Duration>,
    /// What rests, and not yet for long enough.
    waiting: Waiting,
}

impl Mover {
    /// Will move connections.
    pub fn new(
        maps: PinnedMaps,
        helper: Helper,
        cluster: Moving,
        tally: Arc<Tally>,
        ended: Arc<Ended>,
    ) -> Self {
        Self {
            maps,
            helper,
            cluster,
            asked: Asked::default(),
            movable: Movable::default(),
            history: History::default(),
            tally,
            ended,
        }
    }

    /// Learns what has changed. Where the source may lack objects, nothing is taken for gone. What
    /// is desired is looked at for moments, and the maps are read between.
    pub fn learn<D: Deref<Target = Desired>>(
        &mut self,
        desired: impl Fn() -> D,
        lacking: bool,
    ) -> Result<(), MapsError> {
        self.movable = Movable::learn(&self.maps, desired, &self.cluster, &self.asked, lacking)?;
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
        let closed = self.history.forget_closed(|index| self.maps.charge(index));
        if self.movable.is_empty() {
            self.history.forget_looks();
            if closed {
                self.publish();
            }
            return None;
        }
        let forced = self.forced();
        let input = self.movable.input(&self.maps, now(), &forced);
        let mut history = std::mem::take(&mut self.history);
        let demands = plan::demands(&input, &mut history);
        let Chosen { ends, spent: asking, soonest, .. } =
            self.choose(&input, &demands, true, &mut history);
        let (ended, ending) = self.carry_out(&input, &ends, &mut history);
        // What was used in the last moment waits as well as what was busy before.
        let waits = wanted(&demands) > ended.iter().filter(|end| is_waited_for(end.reason)).count();
        let settles_in = plan::settles_in(&input, &history);
        self.history = history;
        if closed || !ended.is_empty() {
            self.publish();
        }
        self.asked.services.retain(|service| {
            self.movable.rows_of(service).iter().any(|row| self.history.is_forced(*row))
        });
        // Whoever will have been quiet for long enough is met when that is so: the moment that is
        // the farthest from what its client does next.
        let next = soonest.filter(|_| waits).into_iter().chain(settles_in).min();
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
        Some(pause.max(share))
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
        let movable = Movable::learn(&self.maps, desired, &self.cluster, &asked, true)?;
        Ok(Look { service: service.clone(), asked, movable })
    }

    /// Moves the connections of the Service to where there are fewer, now; or says what it would
    /// do.
    pub fn rebalance(&mut self, look: Look, dry_run: bool) -> RebalanceView {
        let Look { service, asked, movable } = look;
        let rows = movable.rows_of(&service);
        let input = movable.input(&self.maps, now(), &rows);
        let mut history = self.history.clone();
        for row in &rows {
            history.force(input.now, *row);
        }
        let mut demands = plan::demands(&input, &mut history);
        demands.retain(|demand| demand.reason == Reason::Rebalance && rows.contains(&demand.row));
        let Chosen { ends, waiting, .. } = self.choose(&input, &demands, false, &mut history);
        let mut view = RebalanceView {
            backends: shares(&input, &movable, &self.maps, &rows, &history),
            moves: Vec::new(),
            waiting: waits(&movable, &waiting),
            busy: wanted(&demands).saturating_sub(ends.len()) as u64,
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

    fn choose(
        &self,
        input: &Input,
        demands: &[Demand],
        patient: bool,
        history: &mut History,
    ) -> Chosen {
        let mut answers: BTreeMap<usize, Seen> = BTreeMap::new();
        let asked = plan::asked(demands).into_iter().filter_map(|index| {
            let connection = &input.connections[index];
            Some((index, (*connection, address(&self.maps, backend(connection))?)))
        });
        let (asked, sockets): (Vec<_>, Vec<_>) = asked.unzip();
        let (answered, spent) = self.helper.ask(sockets);
        for (index, answer) in asked.into_iter().zip(answered) {
            let connection = &input.connections[index];
            let fate = match answer {
                Answer::Found(found) => {
                    answers.insert(index, history.look(input.now, connection.word, &found));
                    continue;
                }
                Answer::Gone | Answer::Later => continue,
                Answer::Unreachable => Some(Fate::Unreachable),
                Answer::Stuck => Some(Fate::Stuck),
                Answer::LeftAlone => None,
                Answer::Failed(error) => {
                    tracing::debug!("{} can't be asked about: {error}", connection.local);
                    None
                }
            };
            history.pause(input.now, connection.word);
            if let Some(fate) = fate {
                let reason = demands.iter().find(|d| d.among.contains(&index)).map(|d| d.reason);
                self.count(input, connection.service, reason, fate);
            }
        }
        let ends = plan::choose(input, demands, &answers, patient, history);
        Chosen {
            ends,
            spent,
            soonest: plan::soonest(demands, &answers),
            waiting: plan::waiting(demands, &answers),
        }
    }

    /// Ends connections; gives those that were ended, with the way it was done, and what that took
    /// of a processor elsewhere.
    fn carry_out(
        &self,
        input: &Input,
        ends: &[End],
        history: &mut History,
    ) -> (Vec<End>, Duration) {
        let mut done = Vec::new();
        if ends.is_empty() {
            return (done, Duration::ZERO);
        }
        let order = |end: &End| {
            let connection = input.connections[end.connection];
            let row = input.rows.get(&end.row);
            Order {
                end: *end,
                connection,
                backend: address(&self.maps, backend(&connection)),
                may_reset: row.is_some_and(|row| row.policy.reset_after.is_some()),
            }
        };
        let (outcomes, spent) = self.helper.end(ends.iter().map(order).collect());
        for (end, outcome) in ends.iter().zip(outcomes) {
            let fate = match outcome {
                Outcome::Ended(way) => {
                    history.ended(input, end);
                    done.push(End { way, ..*end });
                    Fate::Ended(way)
                }
                Outcome::Busy | Outcome::Gone | Outcome::Later => continue,
                Outcome::Untold => {
                    history.untold(input, end);
                    continue;
                }
                Outcome::Stuck => {
                    history.failed(input, end);
                    Fate::Stuck
                }
                Outcome::Unheld => {
                    history.failed(input, end);
                    Fate::Unheld
                }
                Outcome::Failed(error) => {
                    history.failed(input, end);
                    let local = input.connections[end.connection].local;
                    tracing::debug!("the connection of {local} can't be ended: {error}");
                    Fate::Failed
                }
            };
            self.count(input, end.row, Some(end.reason), fate);
        }
        (done, spent)
    }

    /// Tells those who list connections which were ended.
    fn publish(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = self.history.all_ended();
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

/// Nobody waits for what is not known to have been quiet for long.
fn is_waited_for(reason: Reason) -> bool {
    reason != Reason::Idle
}

/// How many connections are wanted by all demands.
fn wanted(demands: &[Demand]) -> usize {
    let waited = demands.iter().filter(|demand| is_waited_for(demand.reason));
    waited.map(|demand| demand.count.min(demand.among.len())).sum()
}
