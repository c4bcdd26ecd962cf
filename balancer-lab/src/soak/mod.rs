//! The model test of counting: sockets live at random, and at quiet points what balancer counts is
//! compared with what is open.
//!
//! - [`life`]: what is done to sockets, drawn from a seed.
//! - [`model`]: what must be charged then.
//! - [`worker`]: the processes that do it, in the network namespaces of pods.
//! - `quiet`, `oracle`: the comparison: claims of the workers, sockets of the kernel (sock_diag),
//!   charges and counters of balancer.

pub mod life;
mod maps;
pub mod model;
mod oracle;
mod quiet;
mod remote;
mod servers;
mod stage;
pub mod wire;
pub mod worker;

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

pub use oracle::Differences;
use remote::Remote;
use stage::Stage;
use wire::{Claims, Report};

use crate::error::{Attempt, Result};

/// Client pods.
const CLIENTS: u8 = 4;
/// Workers in each of them.
const WORKERS: usize = 2;
/// Sockets of each worker.
const SLOTS: usize = 256;
/// A worker is killed in one of so many rounds.
const KILLS: u32 = 4;
/// How long the agent may take to settle what only it can see.
const SETTLING: Duration = Duration::from_secs(20);

/// What a soak is to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// It ends after so long.
    pub time: Duration,
    /// Or after so many operations.
    pub operations: u64,
    /// Operations of each worker between two quiet points.
    pub batch: u64,
}

/// What a soak has done and found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Operations on sockets.
    pub operations: u64,
    /// Connections to Services.
    pub connections: u64,
    /// Quiet points.
    pub points: u64,
    /// Workers killed with their sockets open.
    pub kills: u64,
    /// Most sockets that were charged at a quiet point.
    pub most: u64,
    /// Time of the operations and comparisons.
    pub elapsed: Duration,
    /// What was wrong at the first quiet point that was.
    pub differences: Differences,
    /// What a system call answered that it should not have.
    pub surprises: Vec<String>,
}

impl Outcome {
    /// True if nothing was wrong.
    pub fn is_well(&self) -> bool {
        self.differences.is_empty() && self.surprises.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.operations as f64 / seconds.max(f64::MIN_POSITIVE);
        writeln!(f, "{:>12} operations in {seconds:.0} s, {rate:.0} a second", self.operations)?;
        writeln!(f, "{:>12} connections to Services", self.connections)?;
        writeln!(f, "{:>12} processes killed with their sockets open", self.kills)?;
        writeln!(f, "{:>12} quiet points, with up to {} sockets charged", self.points, self.most)?;
        writeln!(
            f,
            "{:>12} was the largest difference between counts and sockets",
            self.differences.largest
        )?;
        let wrong = self.differences.said.iter().chain(&self.surprises);
        wrong.take(40).try_for_each(|sentence| writeln!(f, "wrong: {sentence}"))
    }
}

/// Runs until the time is up, the operations are done, or something is wrong.
pub fn run(options: &Options, progress: &ProgressBar) -> Result<Outcome> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).attempt("read RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).attempt("raise RLIMIT_NOFILE")?;
    let mut soak = Soak::begin(options)?;
    let started = Instant::now();
    let mut outcome = Outcome::default();
    progress.set_length(options.operations);
    while started.elapsed() < options.time
        && outcome.operations < options.operations
        && outcome.is_well()
    {
        soak.round(&mut outcome)?;
        outcome.elapsed = started.elapsed();
        progress.set_position(outcome.operations);
    }
    if outcome.is_well() {
        soak.end(&mut outcome)?;
    }
    Ok(outcome)
}

/// Declared in this order, so that the workers go before the lab.
struct Soak {
    workers: Vec<Remote>,
    claims: Vec<Claims>,
    stage: Stage,
    rng: StdRng,
    batch: u64,
}

impl Soak {
    fn begin(options: &Options) -> Result<Self> {
        let mut soak = Self {
            workers: Vec::new(),
            claims: vec![Claims::new(); usize::from(CLIENTS) * WORKERS],
            stage: Stage::build(CLIENTS)?,
            rng: StdRng::seed_from_u64(options.seed),
            batch: options.batch,
        };
        for index in 0..soak.claims.len() {
            let worker = soak.worker(index)?;
            soak.workers.push(worker);
        }
        Ok(soak)
    }

    fn worker(&mut self, index: usize) -> Result<Remote> {
        let pod = &self.stage.clients[index % self.stage.clients.len()];
        Remote::start(pod.place(), self.rng.random(), SLOTS)
    }

    /// Operations of all workers, and a quiet point.
    fn round(&mut self, outcome: &mut Outcome) -> Result<()> {
        let batch = self.batch;
        self.workers.iter_mut().try_for_each(|worker| worker.go(batch))?;
        if self.rng.random_ratio(1, KILLS) {
            let victim = self.rng.random_range(0..self.workers.len());
            // At any moment of its work.
            thread::sleep(Duration::from_micros(self.rng.random_range(0..50_000)));
            self.workers[victim] = self.worker(victim)?;
            self.workers[victim].go(batch)?;
            outcome.kills += 1;
        }
        for (worker, claims) in self.workers.iter_mut().zip(&mut self.claims) {
            let Report { operations, connections, surprises, sockets } = worker.still()?;
            outcome.operations += operations;
            outcome.connections += connections;
            outcome.surprises.extend(surprises);
            *claims = sockets.into_iter().map(|told| (told.cookie, told)).collect();
        }
        let claims = self.claims.iter().flatten().map(|(cookie, told)| (*cookie, *told)).collect();
        outcome.differences = quiet::compare(&self.stage, &claims, true)?;
        outcome.points += 1;
        outcome.most = outcome.most.max(self.stage.maps.charges().count() as u64);
        Ok(())
    }

    /// What the agent alone can see is settled, and what was open is closed.
    fn end(mut self, outcome: &mut Outcome) -> Result<()> {
        let claims = self.claims.iter().flatten().map(|(cookie, told)| (*cookie, *told)).collect();
        outcome.differences = quiet::settle(&self.stage, &claims, SETTLING)?;
        if outcome.is_well() {
            self.workers.clear();
            // A charge that is left is a difference to what nobody claims.
            outcome.differences = quiet::compare(&self.stage, &Claims::new(), true)?;
        }
        Ok(())
    }
}
