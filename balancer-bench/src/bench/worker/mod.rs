//! The process that measures: it runs in a client pod and also holds the backends' sockets.
//!
//! One thread on one processor does both ends. The accept queues are emptied between the measured
//! loops, never during them: no wake-up of a server and no other processor's work is in the
//! figures, only the path. Packets cross it inside the system call that sends them.

mod connect;
mod listeners;
mod others;
mod spread;
mod traffic;

use std::io::{self, BufRead, Write};

use balancer_lab::error::{Attempt, Error, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::Serialize;

use super::job::Job;
use listeners::Listeners;

/// Where a measuring process finds its sockets.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The lab it runs in.
    pub lab: String,
    /// The pods to listen in.
    pub backends: Vec<String>,
    /// Whether to stay on the last processor.
    pub pinned: bool,
}

/// Does jobs from standard input until it ends.
pub fn run(options: &WorkerOptions) -> Result<()> {
    if options.pinned {
        pin()?;
    }
    let listeners = Listeners::open(&options.lab, &options.backends)?;
    answer(Ok("ready"))?;
    for line in io::stdin().lock().lines() {
        let line = line.attempt("read a job")?;
        let job: Job = serde_json::from_str(&line)
            .map_err(|error| Error::Unmet(format!("{line:?} is no job: {error}")))?;
        perform(job, options, &listeners)?;
    }
    Ok(())
}

fn perform(job: Job, options: &WorkerOptions, listeners: &Listeners) -> Result<()> {
    match job {
        Job::Connect { targets, count, warm_up, ask_peer } => {
            answer(connect::run(&targets, [warm_up, count], ask_peer, listeners))
        }
        Job::Use { target, usage, count } => answer(others::run(options, target, usage, count)),
        Job::Accept { count } => {
            answer(listeners.accept(count).map(|open| listeners::counts(&open)))
        }
        Job::PingPong { target, exchanges } => {
            answer(traffic::ping_pong(target, exchanges, listeners))
        }
        Job::Bulk { target, chunks } => answer(traffic::bulk(target, chunks, listeners)),
        Job::Spread { target, connections, trials } => {
            let trial = |_| spread::trial(target, connections, listeners);
            answer((0..trials).map(trial).collect::<Result<Vec<_>>>())
        }
    }
}

/// The last processor: the first one tends to serve the machine's interrupts.
fn pin() -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).attempt("list the allowed processors")?;
    let last = (0..CpuSet::count()).rev().find(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.unwrap_or(0)).attempt("choose a processor")?;
    sched_setaffinity(Pid::from_raw(0), &one).attempt("stay on one processor")
}

fn answer<T: Serialize>(result: Result<T>) -> Result<()> {
    let line = serde_json::to_string(&result.map_err(|error| error.to_string()))
        .map_err(io::Error::from)
        .attempt("write an answer")?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).attempt("answer")
}
