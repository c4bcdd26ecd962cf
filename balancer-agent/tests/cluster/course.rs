//! What happens when: connections, and faults that all end.

use std::{ops::Range, time::Duration};

use rand::{Rng as _, rngs::StdRng};

use super::truth::{BACKENDS, EVERYBODY, NODES, SERVICES, Shape, whole};

/// When the last fault has ended.
pub(crate) const LAST_FAULT: Duration = Duration::from_secs(24);
/// When everybody must know what is true.
pub(crate) const CHECK: Duration = LAST_FAULT.saturating_add(Duration::from_secs(4));
/// When connections come and go for the last time: as late as the last fault.
const LAST_CHANGE: Duration = LAST_FAULT;
/// How long what all nodes hear of takes to the last of them.
const SPREAD: f64 = 1.0;
/// Faults at most.
const FAULTS: usize = 8;
/// When the first of them may begin, and how long one lasts, in seconds: every other one is short.
const FIRST_FAULT: f64 = 1.0;
const SHORTEST: f64 = 0.05;
const SHORT: f64 = 1.0;
/// Of 100 datagrams, how many something happens to at most.
const MOST_PERCENT: u32 = 60;
/// How far a clock jumps at most.
const MOST_JUMP: Duration = Duration::from_secs(20);
/// When all begin to change their keys, and the time from one change to the next, in seconds.
const FIRST_KEYS: f64 = 2.0;
const BETWEEN_KEYS: f64 = 3.0;

/// Connections of one node to one backend that wait to be moved.
const MOST_HELD: usize = 5;
/// When the backend comes that they are to be moved to.
const JOINS: Duration = Duration::from_secs(5);

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A connection of a node to a backend comes, or goes, if there is one.
    Opens(usize, usize),
    Closes(usize, usize),
    /// A connection of a node to a backend of a Service comes, wherever the choice would send it.
    Holds(usize, usize, usize),
    /// A node does not move connections, or does again.
    Off(usize, bool),
    /// From now on so many of 100 datagrams are lost, come twice, or come up to 2 s late.
    Lossy(u32),
    Twice(u32),
    Late(u32),
    /// What one node says to another one gets lost, or does not any more.
    Cut(usize, usize),
    Mend(usize, usize),
    /// An agent ends, or starts again; programs and maps stay.
    Crashes(usize),
    Restarts(usize),
    /// An agent does nothing until `Thaws`.
    Freezes(usize),
    Thaws(usize),
    /// The clock of an agent jumps ahead by so many milliseconds.
    Jumps(usize, u64),
    /// A node hears which nodes there are: one bit each.
    Peers(usize, u8),
    /// A node with all that it has goes, or comes.
    Leaves(usize),
    Comes(usize),
    /// A node hears which backends the Services have.
    Rows(usize, Shape),
    /// A node reads its keys: the first, both in either order, the second; or one of nobody.
    Keys(usize, usize),
}

impl Step {
    /// True where something goes wrong: not where connections, nodes and backends come and go, and all hear of
    /// it.
    pub(crate) const fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::Opens(..) | Self::Closes(..) | Self::Holds(..) | Self::Off(..) | Self::Rows(..)
        )
    }
}

/// The same, with connections that begin at one backend of each Service; half of the nodes may not move theirs.
pub(crate) fn course_of_moves(rng: &mut StdRng) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    let mut all = course(rng);
    // Of some the numbers are small enough to see what each does.
    let kept = rng.random_range(1..=10);
    let mut nth = 0;
    all.retain(|(_, step)| {
        nth += 1;
        !matches!(step, Step::Opens(..) | Step::Closes(..)) || nth % 10 < kept
    });
    for (service, backends) in SERVICES.iter().enumerate() {
        let first = backends[rng.random_range(0..backends.len())];
        for node in 0..NODES {
            for _ in 0..rng.random_range(0..=MOST_HELD) {
                steps.push((Duration::ZERO, Step::Holds(node, service, first)));
            }
        }
    }
    // All nodes hear at some moment of a backend that comes.
    let mut without = whole();
    without[0] &= without[0] - 1;
    steps.extend((0..NODES).map(|node| (Duration::ZERO, Step::Rows(node, without))));
    for node in 0..NODES {
        let heard = JOINS + Duration::from_millis(rng.random_range(0..200));
        steps.push((heard, Step::Rows(node, whole())));
    }
    if rng.random_range(0..4) == 0 {
        for node in 0..NODES / 2 {
            steps.push((Duration::ZERO, Step::Off(node, true)));
            if rng.random() {
                let seen =
                    Duration::from_secs_f64(rng.random_range(0.0..LAST_CHANGE.as_secs_f64()));
                steps.push((seen, Step::Off(node, false)));
            }
        }
    }
    steps.extend(all);
    steps.sort_by_key(|(when, _)| *when);
    steps
}

/// Steps in the order of time.
pub(crate) fn course(rng: &mut StdRng) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    let at = |seconds: f64| Duration::from_secs_f64(seconds);
    for _ in 0..rng.random_range(20..200) {
        let (node, backend) = (rng.random_range(0..NODES), rng.random_range(0..BACKENDS));
        let when = at(rng.random_range(0.0..LAST_CHANGE.as_secs_f64()));
        let step =
            if rng.random() { Step::Opens(node, backend) } else { Step::Closes(node, backend) };
        steps.push((when, step));
    }
    let mut faults = Faults { rng, steps: &mut steps };
    for _ in 0..faults.rng.random_range(0..=FAULTS) {
        faults.one();
    }
    steps.sort_by_key(|(when, _)| *when);
    steps
}

struct Faults<'a> {
    rng: &'a mut StdRng,
    steps: &'a mut Vec<(Duration, Step)>,
}

impl Faults<'_> {
    /// A time in which a fault lasts.
    fn span(&mut self) -> Range<f64> {
        let last = LAST_FAULT.as_secs_f64();
        let from = self.rng.random_range(FIRST_FAULT..last - SHORTEST);
        let longest = if self.rng.random() { SHORT } else { last };
        from..(from + self.rng.random_range(SHORTEST..longest)).min(last)
    }

    fn node(&mut self) -> usize {
        self.rng.random_range(0..NODES)
    }

    fn say(&mut self, seconds: f64, step: Step) {
        self.steps.push((Duration::from_secs_f64(seconds), step));
    }

    fn lasts(&mut self, begins: Step, ends: Step) {
        let span = self.span();
        self.say(span.start, begins);
        self.say(span.end, ends);
    }

    /// Something that all nodes hear of, each a little later.
    fn all_hear(&mut self, from: f64, step: impl Fn(usize) -> Step) {
        for node in 0..NODES {
            let seconds = (from + self.rng.random_range(0.0..SPREAD)).min(LAST_FAULT.as_secs_f64());
            self.say(seconds, step(node));
        }
    }

    fn one(&mut self) {
        let (node, other) = (self.node(), self.node());
        let percent = self.rng.random_range(1..=MOST_PERCENT);
        match self.rng.random_range(0..10) {
            0 => self.lasts(Step::Lossy(percent), Step::Lossy(0)),
            1 => self.lasts(Step::Twice(percent), Step::Twice(0)),
            2 => self.lasts(Step::Late(percent), Step::Late(0)),
            3 => self.lasts(Step::Cut(node, other), Step::Mend(node, other)),
            4 => self.partition(),
            5 => self.lasts(Step::Crashes(node), Step::Restarts(node)),
            6 => self.lasts(Step::Freezes(node), Step::Thaws(node)),
            7 => {
                let span = self.span();
                let by = self.rng.random_range(1..=MOST_JUMP.as_millis() as u64);
                self.say(span.start, Step::Jumps(node, by));
            }
            8 => self.absence(node),
            _ if self.rng.random() => self.keys(node),
            _ => self.services(),
        }
    }

    /// Some nodes do not reach the others, nor are they reached.
    fn partition(&mut self) {
        let side: u8 = self.rng.random();
        let span = self.span();
        let is_in = |node: usize| side & (1 << node) != 0;
        for (from, to) in (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))) {
            if is_in(from) != is_in(to) {
                self.say(span.start, Step::Cut(from, to));
                self.say(span.end, Step::Mend(from, to));
            }
        }
    }

    /// A node goes, and comes back as an empty one.
    fn absence(&mut self, node: usize) {
        let span = self.span();
        self.say(span.start, Step::Leaves(node));
        self.say(span.end, Step::Comes(node));
        self.all_hear(span.start, |hears| Step::Peers(hears, EVERYBODY & !(1 << node)));
        // Before the last of them hear that it went, nobody hears that it is back.
        self.all_hear(span.end.max(span.start + SPREAD), |hears| Step::Peers(hears, EVERYBODY));
    }

    /// Backends leave a Service, or all do; some come back.
    fn services(&mut self) {
        let index = self.rng.random_range(0..SERVICES.len());
        let span = self.span();
        let mut shape = whole();
        shape[index] &= if self.rng.random() { 0 } else { self.rng.random() };
        self.all_hear(span.start, |hears| Step::Rows(hears, shape));
        self.all_hear(span.end.max(span.start + SPREAD), |hears| Step::Rows(hears, whole()));
    }

    /// All change their keys without a gap, or one has a wrong one for a while.
    fn keys(&mut self, node: usize) {
        if self.rng.random() {
            self.lasts(Step::Keys(node, 4), Step::Keys(node, 0));
            return;
        }
        // The last one is read before the last fault ends: key 0 again at the end, as all began.
        for (turn, keys) in [1, 2, 3, 2, 1, 0].into_iter().enumerate() {
            let from = FIRST_KEYS + BETWEEN_KEYS * turn as f64;
            self.all_hear(from, |hears| Step::Keys(hears, keys));
        }
    }
}
