//! The process that does things to sockets, in the network namespace of a pod.
//!
//! It has one thread, so that it may fork. Told a number, it carries out as many operations, says
//! what it has open, and holds still. It may be killed at any time.

mod calls;
mod children;
mod entry;
mod table;

use std::{
    io::{self, BufRead as _, Write as _},
    thread,
};

use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    signal::Signal,
};

use super::life::Lives;
use crate::error::{Attempt, Error, Result};
use table::Table;

/// Does so many operations as each line of its input says, until that ends.
pub fn run(seed: u64, slots: usize) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).attempt("read RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).attempt("raise RLIMIT_NOFILE")?;
    let mut lives = Lives::new(seed, slots);
    let mut table = Table::new(slots)?;
    for line in io::stdin().lock().lines() {
        let line = line.attempt("read a number of operations")?;
        let count: usize =
            line.parse().map_err(|_| Error::Unmet(format!("{line:?} is no number")))?;
        for operation in lives.by_ref().take(count) {
            table.perform(operation)?;
        }
        let report = serde_json::to_string(&table.report())
            .map_err(io::Error::from)
            .attempt("write a report")?;
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{report}").and_then(|()| stdout.flush()).attempt("report")?;
    }
    Ok(())
}

/// Holds what is open as standard input until it is killed, as it is when its parent ends.
pub fn hold() -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).attempt("ask to die with the parent")?;
    loop {
        thread::park();
    }
}
