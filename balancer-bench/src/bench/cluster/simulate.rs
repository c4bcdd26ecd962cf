//! Runs cases with every way to choose, on all processors.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use indicatif::ProgressBar;
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    acceptance::Case,
    agents::Agents,
    figures::Figures,
    way::{Dice, Ideal, Local, Way},
    workload::Workload,
};

/// Who chooses.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Who {
    Dice,
    Local,
    Ideal,
    Cluster,
}

impl Who {
    pub(super) const ALL: [Self; 4] = [Self::Dice, Self::Local, Self::Ideal, Self::Cluster];

    fn way(self, workload: Workload, seed: u64) -> Box<dyn Way> {
        // Apart from that of the workload, which is the same for all.
        let rng = StdRng::seed_from_u64(!seed);
        match self {
            Self::Dice => Box::new(Dice(rng)),
            Self::Local => Box::new(Local(rng)),
            Self::Ideal => Box::new(Ideal(rng)),
            Self::Cluster => Box::new(Agents::new(&workload.world(), rng)),
        }
    }
}

/// What came of a case: the figures of each run, by who chose.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) case: Case,
    pub(super) figures: BTreeMap<Who, Vec<Figures>>,
}

/// Runs them with these ways to choose, the seed of each run being its number.
pub(super) fn run(cases: Vec<Case>, ways: &[Who], progress: &ProgressBar) -> Vec<Outcome> {
    let mut jobs: Vec<(usize, Who, u64)> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        for seed in 1..=case.runs {
            jobs.extend(ways.iter().map(|who| (index, *who, seed)));
        }
    }
    // The longest first, so that all processors end at about the same time.
    jobs.sort_by_key(|(index, who, _)| {
        std::cmp::Reverse((cases[*index].workload.nodes(), *who == Who::Cluster))
    });
    progress.set_length(jobs.len() as u64);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (index, who, seed) = *job;
            let workload = cases[index].workload;
            let figures = workload.run(who.way(workload, seed).as_mut(), seed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((*job, figures));
            progress.inc(1);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(job, _)| *job);
    let mut outcomes: Vec<Outcome> =
        cases.into_iter().map(|case| Outcome { case, figures: BTreeMap::new() }).collect();
    for ((index, who, _), figures) in done {
        outcomes[index].figures.entry(who).or_default().push(figures);
    }
    outcomes
}
