//! The model test of counting: sockets live at random, and at quiet points what balancer counts is
//! compared with what is open.
//!
//! - [`life`]: what is done to sockets, drawn from a seed.
//! - [`model`]: what must be charged then.
//! - [`worker`]: the processes that do it, in the network namespaces of pods.
//! - `crew`, `stage`: all of them, and the node they run on.
//! - `crash`, `editions`: the agent is killed and replaced meanwhile, and what it writes changes.
//! - `neighbours`: others beside them, who fill tables and hold locks.
//! - `quiet`, `oracle`: the comparison: claims of the workers, sockets of the kernel (sock_diag),
//!   charges and counters of balancer.

mod crash;
mod crew;
mod editions;
pub mod life;
mod maps;
pub mod model;
mod neighbours;
mod oracle;
mod outcome;
mod quiet;
mod remote;
mod servers;
mod stage;
pub mod wire;
pub mod worker;

use std::time::{Duration, Instant};

use balancer_lab::error::{Attempt, Result};
use indicatif::ProgressBar;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crew::Crew;
use editions::Editions;
use neighbours::Neighbours;
pub use oracle::Differences;
pub use outcome::Outcome;
use stage::Stage;
use wire::Claims;

/// Client pods.
const CLIENTS: u8 = 4;
/// A worker is killed in one of so many rounds.
const KILLS: u32 = 4;
/// Crashes or upgrades between two quiet points.
const GROUP: u64 = 5;
/// Sockets of which it is told what was done to them, where something is wrong.
const EXPLAINED: usize = 10;
/// How long the agent may take to settle what only it can see.
const SETTLING: Duration = Duration::from_secs(20);

/// What a soak is to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The operations on sockets alone end after so long,
    pub time: Duration,
    /// or after so many.
    pub operations: u64,
    /// Operations of each worker between two quiet points.
    pub batch: u64,
    /// The agent is killed so often.
    pub crashes: u64,
    /// The agent is started from another file so often.
    pub upgrades: u64,
    /// So many other sockets are charged all the time.
    pub pressure: u64,
    /// A pod holds the locks of sockets that are to be ended, all the time.
    pub stalls: bool,
}

/// Runs until everything was done that was asked for, or something is wrong.
pub fn run(options: &Options, progress: &ProgressBar) -> Result<Outcome> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).attempt("read RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).attempt("raise RLIMIT_NOFILE")?;
    let mut rng = StdRng::seed_from_u64(options.seed);
    let stage = Stage::build(CLIENTS)?;
    let neighbours = Neighbours::start(&stage, options.pressure, options.stalls)?;
    let crew = Crew::start(&stage, &mut rng)?;
    let (outcome, begun) = (Outcome::default(), Instant::now());
    let mut soak = Soak { crew, neighbours, stage, rng, outcome, begun };
    soak.operations(options, progress)?;
    soak.crashes(options.crashes, progress)?;
    soak.upgrades(options.upgrades, progress)?;
    soak.end()
}

/// Declared in this order, so that the workers go before the lab.
struct Soak {
    crew: Crew,
    neighbours: Neighbours,
    stage: Stage,
    rng: StdRng,
    outcome: Outcome,
    begun: Instant,
}

impl Soak {
    fn operations(&mut self, options: &Options, progress: &ProgressBar) -> Result<()> {
        while self.begun.elapsed() < options.time
            && self.outcome.operations < options.operations
            && self.outcome.is_well()
        {
            let kill = self.rng.random_ratio(1, KILLS);
            let on = (&self.stage, &mut self.rng);
            self.crew.work(options.batch, kill, on, &mut self.outcome)?;
            self.compare(true, progress)?;
        }
        Ok(())
    }

    fn crashes(&mut self, times: u64, progress: &ProgressBar) -> Result<()> {
        let mut editions = Editions::default();
        if times > 0 {
            editions.next(&self.stage.manifests)?;
        }
        while self.outcome.crashes < times && self.outcome.is_well() {
            let group = GROUP.min(times - self.outcome.crashes);
            let mut done = Outcome::default();
            let Self { crew, stage, rng, outcome, .. } = self;
            let crash = || crash::crash(stage, &mut editions, rng, group, &mut done);
            crew.work_during(outcome, crash)?;
            outcome.crashes += done.crashes;
            outcome.finished += done.finished;
            outcome.writes = outcome.writes.max(done.writes);
            self.compare(false, progress)?;
        }
        Ok(())
    }

    fn upgrades(&mut self, times: u64, progress: &ProgressBar) -> Result<()> {
        while self.outcome.upgrades < times && self.outcome.is_well() {
            let first = self.outcome.upgrades;
            let numbers = first..times.min(first + GROUP);
            let Self { crew, stage, rng, outcome, .. } = self;
            let last = numbers.end;
            crew.work_during(outcome, || crash::upgrade(stage, rng, numbers))?;
            outcome.upgrades = last;
            self.compare(false, progress)?;
        }
        Ok(())
    }

    /// A quiet point; `settled` if the agent ran long enough to settle doubts.
    fn compare(&mut self, settled: bool, progress: &ProgressBar) -> Result<()> {
        let outcome = &mut self.outcome;
        outcome.differences = quiet::compare(&self.stage, &self.crew.claims(), settled)?;
        for cookie in outcome.differences.sockets.iter().take(EXPLAINED) {
            let past = self.crew.past(*cookie)?;
            let past = past.iter().map(|deed| format!("\n  {deed}")).collect::<String>();
            outcome.differences.said.push(format!("what was done to socket {cookie:x}:{past}"));
        }
        outcome.points += 1;
        outcome.most = outcome.most.max(self.stage.maps.charges().count() as u64);
        outcome.elapsed = self.begun.elapsed();
        progress.set_position(outcome.operations);
        Ok(())
    }

    /// What the agent alone can see is settled, and what was open is closed.
    fn end(self) -> Result<Outcome> {
        // The neighbours go before the lab, too.
        let Self { stage, neighbours: _neighbours, crew, mut outcome, .. } = self;
        if outcome.is_well() {
            outcome.differences = quiet::settle(&stage, &crew.claims(), SETTLING)?;
        }
        if outcome.is_well() {
            drop(crew);
            // A charge that is left is a difference to what nobody claims.
            outcome.differences = quiet::compare(&stage, &Claims::new(), true)?;
        }
        Ok(outcome)
    }
}
