//! Moves of connections of all nodes, simulated: what agents ask, permit and do are the functions of the
//! agent; time, network, connections and clients are not real.

mod mover;
mod scene;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::bench::report::{Cell, Column, Table};
use scene::{Faults, Outcome, Scene};

/// Connections that are on the first backends, and more backends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) nodes: usize,
    /// Connections of each node: at least, and at most.
    each: (u32, u32),
    /// Backends before and after.
    before: usize,
    after: usize,
    faults: Faults,
    /// How many more may be ended than must be: so many, and so many of 1,000.
    more: (usize, usize),
    /// Of 100 runs, in how many no more may be ended than must be.
    exact: usize,
    /// Within how long after the change all must be even.
    even: Duration,
    /// Runs at most.
    runs: u64,
}

const fn case(name: &'static str, nodes: usize, each: u32, [before, after]: [usize; 2]) -> Case {
    Case {
        name,
        nodes,
        each: (each, each),
        before,
        after,
        faults: Faults::NONE,
        more: (1, 0),
        exact: 95,
        even: Duration::from_millis(4_500),
        runs: 100,
    }
}

const LOSS: Faults = Faults { lost: 5, ..Faults::NONE };

/// 500 nodes, which take minutes.
const MANY: Case = Case {
    each: (1, 10),
    more: (0, 0),
    exact: 100,
    even: Duration::from_secs(12),
    runs: 1,
    ..case("500 nodes, 1 to 10 each, on 1 of 3", 500, 1, [1, 3])
};

/// What is demanded of moves.
pub(super) const CASES: [Case; 10] = [
    case("20 nodes, 1 each, on 1 of 3", 20, 1, [1, 3]),
    case("7 nodes, 3 each, on 1 of 3", 7, 3, [1, 3]),
    case("20 nodes, 5 each, 4 backends to 8", 20, 5, [4, 8]),
    Case {
        even: Duration::from_secs(5),
        more: (1, 20),
        exact: 0,
        ..case("50 nodes, 4 each, 10 backends to 15", 50, 4, [10, 15])
    },
    Case {
        each: (1, 10),
        even: Duration::from_secs(5),
        more: (1, 20),
        exact: 0,
        ..case("50 nodes, 1 to 10 each, on 1 of 3", 50, 1, [1, 3])
    },
    Case {
        faults: LOSS,
        exact: 0,
        even: Duration::from_secs(8),
        ..case("20 nodes, 1 each, on 1 of 3, 5% of datagrams lost", 20, 1, [1, 3])
    },
    Case {
        faults: Faults { slow: 20, ..Faults::NONE },
        exact: 0,
        even: Duration::from_secs(12),
        ..case("20 nodes, 1 each, on 1 of 3, 20% of clients 3 to 8 s late", 20, 1, [1, 3])
    },
    Case {
        faults: Faults { blocked: true, ..Faults::NONE },
        more: (0, 200),
        exact: 0,
        even: Duration::from_secs(23),
        ..case("20 nodes, 1 each, on 1 of 3, a node cut off until 8 s after", 20, 1, [1, 3])
    },
    MANY,
    Case { faults: LOSS, name: "500 nodes, 1 to 10 each, on 1 of 3, 5% of datagrams lost", ..MANY },
];

/// What came of a case, run by run.
pub(super) struct Moved {
    case: Case,
    outcomes: Vec<Outcome>,
}

/// Runs cases so often each, on all processors; the seed of each run is its number.
pub(super) fn run(cases: Vec<Case>, runs: u64, progress: &ProgressBar) -> Vec<Moved> {
    let of = |case: &Case| case.runs.min(runs);
    progress.set_length(cases.iter().map(of).sum());
    progress.set_position(0);
    let moved = |case| Moved { case, outcomes: all(case, of(&case), progress) };
    cases.into_iter().map(moved).collect()
}

fn all(case: Case, runs: u64, progress: &ProgressBar) -> Vec<Outcome> {
    let next = AtomicU64::new(1);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > runs {
                return outcomes;
            }
            let Case { nodes, each: (least, most), before, after, faults, .. } = case;
            let mut scene = Scene::new(seed, nodes, least..=most, before, after, faults);
            outcomes.push(scene.run());
            progress.inc(1);
        }
    };
    thread::scope(|scope| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    })
}

impl Moved {
    fn worst(&self, of: impl Fn(&Outcome) -> usize) -> usize {
        self.outcomes.iter().map(of).max().unwrap_or_default()
    }

    /// When the last of the runs was even; none where one never was.
    fn even(&self) -> Option<Duration> {
        self.outcomes.iter().try_fold(Duration::ZERO, |most, one| Some(most.max(one.even?)))
    }

    /// The most by which more were ended than must be.
    fn more(&self) -> usize {
        self.worst(|one| one.ends.saturating_sub(one.fewest))
    }

    /// Of all connections that must be ended, times so many were.
    fn times(&self) -> f64 {
        let sum = |of: fn(&Outcome) -> usize| self.outcomes.iter().map(of).sum::<usize>();
        sum(|one| one.ends) as f64 / sum(|one| one.fewest).max(1) as f64
    }

    pub(super) fn is_met(&self) -> bool {
        let Case { more: (more, of_1000), exact, even, .. } = self.case;
        let is_within =
            |one: &Outcome| one.ends <= one.fewest + more + one.fewest * of_1000 / 1_000;
        let exactly = self.outcomes.iter().filter(|one| one.ends <= one.fewest).count();
        self.outcomes.iter().all(is_within)
            && exactly * 100 >= exact * self.outcomes.len()
            && self.even().is_some_and(|found| found <= even)
            && self.worst(|one| one.twice) == 0
            && self.worst(|one| one.late) == 0
            && self.worst(|one| one.spread) <= 1
    }

    pub(super) fn raw(&self) -> Value {
        let run = |one: &Outcome| {
            json!({
                "fewest": one.fewest,
                "ends": one.ends,
                "twice": one.twice,
                "late": one.late,
                "spread": one.spread,
                "even_ms": one.even.map(|even| even.as_millis() as u64),
            })
        };
        let runs: Vec<_> = self.outcomes.iter().map(run).collect();
        json!({"moves": self.case.name, "runs": runs})
    }
}

pub(super) fn table(moved: &[Moved]) -> Table {
    let column = |key, head| Column { key, head };
    let row = |moved: &Moved| {
        let Case { name, more: (more, of_1000), exact, even, .. } = moved.case;
        let count = |number: usize| Cell::Count(number as u64);
        let seconds =
            moved.even().map_or("never".into(), |even| Cell::Number(even.as_secs_f64(), 1));
        let mut demanded = match (more, of_1000) {
            (0, 0) => String::new(),
            (more, 0) => format!("{more} more, "),
            (0, part) => format!("{}% more, ", part / 10),
            (more, part) => format!("{}% and {more} more, ", part / 10),
        };
        if exact > 0 {
            demanded += &format!("none in {exact}% of runs, ");
        }
        demanded += &format!("{} s", even.as_secs_f64());
        vec![
            name.into(),
            Cell::Count(moved.outcomes.len() as u64),
            Cell::Number(moved.times(), 3),
            count(moved.more()),
            seconds,
            count(moved.worst(|one| one.twice)),
            count(moved.worst(|one| one.late)),
            Cell::Text(demanded),
            if moved.is_met() { "yes" } else { "no" }.into(),
        ]
    };
    Table {
        caption: "Moves of the whole cluster, simulated: the worst of the runs".into(),
        columns: vec![
            column("workload", "workload"),
            column("runs", "runs"),
            column("times", "ended/fewest"),
            column("more", "most more"),
            column("even_s", "even after, s"),
            column("twice", "twice in 30 s"),
            column("late", "ended later"),
            column("demanded", "demanded at most"),
            column("met", "met"),
        ],
        rows: moved.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests;
