//! All workers, and what they claim.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use balancer_lab::error::Result;
use rand::{Rng as _, rngs::StdRng};

use super::{outcome::Outcome, remote::Remote, stage::Stage, wire::Claims};

/// Workers in each pod.
const WORKERS: usize = 2;
/// Sockets of each worker.
const SLOTS: usize = 512;
/// Operations of a worker before it looks whether it should go on,
const STRIDE: u64 = 50;
/// and the pause then: what is tried meanwhile must not wait for a processor for long.
const BREATH: Duration = Duration::from_millis(4);

/// The workers.
#[derive(Debug)]
pub(super) struct Crew {
    workers: Vec<Remote>,
    claims: Vec<Claims>,
}

impl Crew {
    pub(super) fn start(stage: &Stage, rng: &mut StdRng) -> Result<Self> {
        let number = stage.clients.len() * WORKERS;
        let mut crew = Self { workers: Vec::new(), claims: vec![Claims::new(); number] };
        for index in 0..number {
            crew.workers.push(worker(stage, rng, index)?);
        }
        Ok(crew)
    }

    /// All of them carry out so many operations. If wanted, one is killed at any moment of its work
    /// and replaced.
    pub(super) fn work(
        &mut self,
        batch: u64,
        kill: bool,
        (stage, rng): (&Stage, &mut StdRng),
        outcome: &mut Outcome,
    ) -> Result<()> {
        self.workers.iter_mut().try_for_each(|worker| worker.go(batch))?;
        if kill {
            let victim = rng.random_range(0..self.workers.len());
            thread::sleep(Duration::from_micros(rng.random_range(0..50_000)));
            self.workers[victim] = worker(stage, rng, victim)?;
            self.workers[victim].go(batch)?;
            outcome.kills += 1;
        }
        for (worker, claims) in self.workers.iter_mut().zip(&mut self.claims) {
            let report = worker.still()?;
            outcome.add(&report);
            *claims = report.claims();
        }
        Ok(())
    }

    /// All of them go on for as long as a function takes.
    pub(super) fn work_during<T>(
        &mut self,
        outcome: &mut Outcome,
        function: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let stop = &AtomicBool::new(false);
        let drive = move |worker: &mut Remote, claims: &mut Claims| {
            let mut done = Outcome::default();
            while !stop.load(SeqCst) {
                worker.go(STRIDE)?;
                let report = worker.still()?;
                done.add(&report);
                *claims = report.claims();
                thread::sleep(BREATH);
            }
            Ok::<_, balancer_lab::Error>(done)
        };
        thread::scope(|scope| {
            let pairs = self.workers.iter_mut().zip(&mut self.claims);
            let threads: Vec<_> =
                pairs.map(|(worker, claims)| scope.spawn(move || drive(worker, claims))).collect();
            let result = function();
            stop.store(true, SeqCst);
            for thread in threads {
                match thread.join() {
                    Ok(done) => {
                        let done = done?;
                        outcome.operations += done.operations;
                        outcome.connections += done.connections;
                        outcome.answers.0 += done.answers.0;
                        outcome.answers.1 += done.answers.1;
                        outcome.surprises.extend(done.surprises);
                    }
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            result
        })
    }

    /// What was done last to a socket, if one of them has it.
    pub(super) fn past(&mut self, cookie: u64) -> Result<Vec<String>> {
        for (worker, claims) in self.workers.iter_mut().zip(&self.claims) {
            if claims.contains_key(&cookie)
                && let Some(past) = worker.past(cookie)?
            {
                return Ok(past);
            }
        }
        Ok(Vec::new())
    }

    /// What all of them claim, since they held still.
    pub(super) fn claims(&self) -> Claims {
        self.claims.iter().flatten().map(|(cookie, told)| (*cookie, *told)).collect()
    }
}

fn worker(stage: &Stage, rng: &mut StdRng, index: usize) -> Result<Remote> {
    let pod = &stage.clients[index % stage.clients.len()];
    Remote::start(pod.place(), rng.random(), SLOTS)
}
