//! A process beside the agent that does everything that touches the sockets of pods.
//!
//! A pod decides how long the lock of its socket is held: a page of what it sends may fault for as
//! long as it likes. Whoever asks for `tcp_info` or ends the socket waits for that lock, and no
//! signal ends the wait. A descriptor that was shared is closed as the pod wants it, too: the last
//! close of a socket lingers. So this is done by a process of its own, which is given up when it
//! says nothing for some time, and what held it up is left alone for a while.
//!
//! - [`protocol`]: what is said between both.
//! - [`udp`]: what is asked of it about UDP sockets.
//! - [`serve`]: the process: does one job after another.
//! - [`process`]: the process as its agent sees it: starts, talks, gives up.
//! - [`watch`]: what was given up, and who is left alone.

pub mod process;
pub mod protocol;
pub mod serve;
pub mod udp;
pub mod watch;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use self::{
    process::{Process, Trouble},
    protocol::{Batch, Done, Job, Subject},
    watch::Watch,
};
use super::{
    ask::Answer,
    end::{Order, Outcome},
};
use crate::maps::Recorded;

/// How long all jobs of a batch may take, and how much more each of them adds.
const BATCH: (Duration, Duration) = (Duration::from_secs(4), Duration::from_micros(200));
/// What takes longer than this was held up: its pod is left alone, too.
const SLOW: Duration = Duration::from_millis(500);

/// Why a job was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Miss {
    /// The process has said nothing since it began with it.
    Stuck,
    /// It is of a pod that is left alone.
    LeftAlone,
    /// There was no time, or no process, for it.
    Later,
}

/// One such process, started when it is needed.
#[derive(Debug)]
pub struct Helper {
    /// Whose processes lead to network namespaces; none where that is not known.
    cgroup: Option<PathBuf>,
    watch: Arc<Watch>,
    process: Mutex<Option<Process>>,
}

impl Helper {
    /// Will look at the processes of a cgroup.
    pub const fn new(cgroup: Option<PathBuf>, watch: Arc<Watch>) -> Self {
        Self { cgroup, watch, process: Mutex::new(None) }
    }

    /// Asks about connections to backends. Says as well what that took of a processor.
    pub fn ask(&self, connections: Vec<(Recorded, SocketAddr)>) -> (Vec<Answer>, Duration) {
        let job = |(connection, backend)| Job::Ask { connection, backend };
        let (done, spent) = self.run(&connections.into_iter().map(job).collect::<Vec<_>>());
        let answer = |done| match done {
            Ok(Done::Answered(answer)) => answer,
            Ok(other) => Answer::Failed(format!("the answer is of something else: {other:?}")),
            Err(Miss::Stuck) => Answer::Stuck,
            Err(Miss::LeftAlone) => Answer::LeftAlone,
            Err(Miss::Later) => Answer::Later,
        };
        (done.into_iter().map(answer).collect(), spent)
    }

    /// Ends connections. Says as well what that took of a processor.
    pub fn end(&self, orders: Vec<Order>) -> (Vec<Outcome>, Duration) {
        let (done, spent) = self.run(&orders.into_iter().map(Job::End).collect::<Vec<_>>());
        let outcome = |done| match done {
            Ok(Done::Ended(outcome)) => outcome,
            Ok(other) => Outcome::Failed(format!("the answer is of something else: {other:?}")),
            Err(Miss::Stuck) => Outcome::Stuck,
            Err(Miss::LeftAlone | Miss::Later) => Outcome::Later,
        };
        (done.into_iter().map(outcome).collect(), spent)
    }

    /// Does jobs in their order, as far as nobody holds them up.
    fn run(&self, jobs: &[Job]) -> (Vec<Result<Done, Miss>>, Duration) {
        let mut done: Vec<Option<Result<Done, Miss>>> = Vec::new();
        done.resize_with(jobs.len(), || None);
        let deadline = Instant::now() + BATCH.0 + BATCH.1 * jobs.len() as u32;
        let mut spent = Duration::ZERO;
        let mut restarted = false;
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            for (job, done) in jobs.iter().zip(&mut done) {
                let is_spared = |subject: Subject| self.watch.spares(subject.owner());
                if done.is_none() && job.subject().is_some_and(is_spared) {
                    *done = Some(Err(Miss::LeftAlone));
                }
            }
            let open: Vec<usize> = (0..jobs.len()).filter(|index| done[*index].is_none()).collect();
            if open.is_empty() || Instant::now() >= deadline || !self.ready(&mut process) {
                break;
            }
            let Some(running) = process.as_mut() else { break };
            let batch = Batch {
                cgroup: self.cgroup.clone(),
                jobs: open.iter().map(|index| jobs[*index].clone()).collect(),
            };
            let mut at = 0;
            let is_stopped = || self.watch.is_stopped();
            let told = running.exchange(&batch, deadline, is_stopped, |result, took| {
                let Some(index) = open.get(at).copied() else { return };
                at += 1;
                done[index] = Some(Ok(result));
                if took > SLOW {
                    self.watch.slow(&jobs[index]);
                }
            });
            match told {
                Ok(took) => {
                    spent += took;
                    if at < open.len() {
                        // What it says next may be of these jobs.
                        self.watch.give_up(process.take(), None);
                        break;
                    }
                }
                Err(Trouble::Silent) => {
                    let job = open.get(at).map(|index| {
                        done[*index] = Some(Err(Miss::Stuck));
                        &jobs[*index]
                    });
                    self.watch.give_up(process.take(), job);
                }
                Err(Trouble::Slow | Trouble::Late) => {
                    self.watch.give_up(process.take(), None);
                    break;
                }
                Err(Trouble::Ended(error)) => {
                    self.watch.give_up(process.take(), None);
                    // Somebody may have ended it, or it had nothing to do for long.
                    if std::mem::replace(&mut restarted, true) {
                        tracing::warn!("the process that touches sockets ends: {error}");
                        break;
                    }
                }
            }
        }
        (done.into_iter().map(|done| done.unwrap_or(Err(Miss::Later))).collect(), spent)
    }

    /// Starts a process where there is none; false where there may be none now.
    fn ready(&self, process: &mut Option<Process>) -> bool {
        if process.is_some() {
            return true;
        }
        if !self.watch.may_start() {
            return false;
        }
        match Process::start() {
            Ok(mut started) => {
                // The kernel may have one lock for all who ask it about sockets (before Linux 6.9),
                // and one that was given up may have it.
                let batch = Batch { cgroup: None, jobs: vec![Job::Probe] };
                let deadline = Instant::now() + BATCH.0;
                if self.watch.has_given_up()
                    && started
                        .exchange(&batch, deadline, || self.watch.is_stopped(), |_, _| {})
                        .is_err()
                {
                    self.watch.wait_for_all(started);
                    return false;
                }
                *process = Some(started);
                true
            }
            Err(error) => {
                tracing::warn!("the process that touches sockets can't be started: {error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
