//! The same workloads with real agents and clients, in the time of the clock.

mod cost;
mod crowd;
mod dialer;
mod dialled;
mod formula;
mod lane;
mod latency;
mod maps;
mod speaker;
mod stage;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use balancer_lab::error::Result;
use indicatif::ProgressBar;

use super::{
    acceptance::Case,
    figures::Figures,
    simulate::{self, Outcome, Who},
    workload::Workload,
};
use crate::bench::report::Table;
use lane::Lane;
use stage::Stage;

pub(super) use crowd::run as among_many;
pub use dialer::run as dial;

/// Services that are dialled side by side, each for a run of its own.
const LANES: u8 = 8;
/// Pods at most, each with its network namespace.
const PODS: usize = 100;
/// Runs of a workload that takes minutes.
const LONG: u64 = LANES as u64;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) nodes: usize,
    /// Changes whose way to the other nodes is measured.
    pub(super) changes: u64,
    /// How long what agents take is measured.
    pub(super) over: Duration,
}

/// What came of it.
pub(super) struct Measured {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) tables: Vec<Table>,
}

/// Whether real agents may be given a workload: all nodes have the same row, which is not too long, and agents
/// do not end.
pub(super) fn can(workload: Workload) -> bool {
    let is_plain = match workload {
        Workload::Steady(steady) => steady.is_plain(),
        _ => true,
    };
    is_plain && workload.world().backends() <= PODS
}

/// Runs cases, and measures agents.
pub(super) fn run(cases: Vec<Case>, extent: Extent, progress: &ProgressBar) -> Result<Measured> {
    let cases: Vec<Case> = cases.into_iter().map(shortened).collect();
    let pods = cases.iter().map(|case| case.workload.world().backends()).max().unwrap_or(0).max(5);
    dialer::allow_many_descriptors()?;
    progress.set_message(format!("{} nodes", extent.nodes));
    let (stage, mut lanes) = Stage::build(extent.nodes, pods, LANES)?;
    // What nobody has to be asked for: who knows everything, or nothing of others.
    let mut outcomes = simulate::run(cases, &[Who::Dice, Who::Local, Who::Ideal], progress);
    let runs: u64 = outcomes.iter().map(|outcome| outcome.case.runs).sum();
    progress.set_length(runs + extent.changes);
    progress.set_position(0);
    for outcome in &mut outcomes {
        progress.set_message(outcome.case.name);
        let figures = play(&stage, &mut lanes, outcome.case, progress)?;
        outcome.figures.insert(Who::Cluster, figures);
    }
    progress.set_message("from node to node");
    let mut tables = Vec::new();
    if let Some(lane) = lanes.first_mut().filter(|_| extent.changes > 0) {
        let latencies = latency::run(&stage, lane, extent.changes, progress)?;
        tables.push(latencies.table(extent.nodes));
    }
    if !extent.over.is_zero() {
        tables.push(cost::run(&stage, &mut lanes, extent.over, progress)?);
    }
    Ok(Measured { outcomes, tables })
}

fn shortened(case: Case) -> Case {
    let is_long = matches!(case.workload, Workload::Steady(_));
    Case { runs: if is_long { case.runs.min(LONG) } else { case.runs }, ..case }
}

/// All runs of a case, on all lanes; the seed of each is its number.
fn play(
    stage: &Stage,
    lanes: &mut [Lane],
    case: Case,
    progress: &ProgressBar,
) -> Result<Vec<Figures>> {
    let next = AtomicU64::new(1);
    let work = |lane: &mut Lane| {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > case.runs {
                return Ok(done);
            }
            let mut dialled = dialled::Dialled::new(stage, lane, &case.workload.world())?;
            let figures = case.workload.run(&mut dialled, seed);
            dialled.finish()?;
            done.push(figures);
            progress.inc(1);
        }
    };
    let work = &work;
    let done: Result<Vec<Vec<Figures>>> = thread::scope(|scope| {
        let threads: Vec<_> =
            lanes.iter_mut().map(|lane| scope.spawn(move || work(lane))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<_>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    Ok(done?.concat())
}
