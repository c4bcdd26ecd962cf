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
    /// Connections of each node.
    each: u32,
    /// Backends before and after.
    before: usize,
    after: usize,
    faults: Faults,
    /// The fewest that must be ended, and how many may be.
    fewest: usize,
    most: usize,
    /// Within how long after the change all must be even.
    even: Duration,
}

const fn case(
    name: &'static str,
    nodes: usize,
    each: u32,
    backends: [usize; 2],
    fewest: usize,
) -> Case {
    let [before, after] = backends;
    let (most, even) = (fewest + 1, Duration::from_millis(4_500));
    Case { name, nodes, each, before, after, faults: Faults::NONE, fewest, most, even }
}

/// What is demanded of moves.
pub(super) const CASES: [Case; 7] = [
    case("20 nodes, 1 each, on 1 of 3", 20, 1, [1, 3], 13),
    case("7 nodes, 3 each, on 1 of 3", 7, 3, [1, 3], 14),
    case("20 nodes, 5 each, 4 backends to 8", 20, 5, [4, 8], 48),
    Case {
        even: Duration::from_secs(5),
        ..case("50 nodes, 4 each, 10 backends to 15", 50, 4, [10, 15], 60)
    },
    Case {
        faults: Faults { lost: 5, ..Faults::NONE },
        even: Duration::from_secs(8),
        ..case("20 nodes, 1 each, on 1 of 3, 5% of datagrams lost", 20, 1, [1, 3], 13)
    },
    Case {
        faults: Faults { slow: 20, ..Faults::NONE },
        even: Duration::from_secs(12),
        ..case("20 nodes, 1 each, on 1 of 3, 20% of clients 3 to 8 s late", 20, 1, [1, 3], 13)
    },
    Case {
        faults: Faults { blocked: true, ..Faults::NONE },
        most: 15,
        even: Duration::from_secs(23),
        ..case("20 nodes, 1 each, on 1 of 3, a node cut off until 8 s after", 20, 1, [1, 3], 13)
    },
];

/// What came of a case, run by run.
pub(super) struct Moved {
    case: Case,
    outcomes: Vec<Outcome>,
}

/// Runs cases so often each, on all processors; the seed of each run is its number.
pub(super) fn run(cases: Vec<Case>, runs: u64, progress: &ProgressBar) -> Vec<Moved> {
    progress.set_length(runs * cases.len() as u64);
    progress.set_position(0);
    cases.into_iter().map(|case| Moved { case, outcomes: all(case, runs, progress) }).collect()
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
            let Case { nodes, each, before, after, faults, .. } = case;
            outcomes.push(Scene::new(seed, nodes, each, before, after, faults).run());
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

    pub(super) fn is_met(&self) -> bool {
        let Case { most, even, .. } = self.case;
        self.worst(|one| one.ends) <= most
            && self.even().is_some_and(|found| found <= even)
            && self.worst(|one| one.twice) == 0
            && self.worst(|one| one.late) == 0
            && self.worst(|one| one.spread) <= 1
    }

    pub(super) fn raw(&self) -> Value {
        let run = |one: &Outcome| {
            json!({
                "ends": one.ends,
                "twice": one.twice,
                "late": one.late,
                "spread": one.spread,
                "even_ms": one.even.map(|even| even.as_millis() as u64),
            })
        };
        let runs: Vec<_> = self.outcomes.iter().map(run).collect();
        json!({"moves": self.case.name, "fewest": self.case.fewest, "runs": runs})
    }
}

pub(super) fn table(moved: &[Moved]) -> Table {
    let column = |key, head| Column { key, head };
    let row = |moved: &Moved| {
        let Case { name, fewest, most, even, .. } = moved.case;
        let count = |number: usize| Cell::Count(number as u64);
        let seconds =
            moved.even().map_or("never".into(), |even| Cell::Number(even.as_secs_f64(), 1));
        let demanded = format!("{most} ended, {} s", even.as_secs_f64());
        vec![
            name.into(),
            Cell::Count(moved.outcomes.len() as u64),
            count(fewest),
            count(moved.worst(|one| one.ends)),
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
            column("fewest", "fewest"),
            column("ended", "ended"),
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
