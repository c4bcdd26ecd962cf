//! The process that does things to sockets, in the network namespace of a pod.
//!
//! It has one thread, so that it may fork. Told to, it carries out so many operations, says what it
//! has open, and holds still. It may be killed at any time.

mod calls;
mod children;
mod converse;
mod entry;
mod table;

use std::{
    io::{self, BufRead as _, Write as _},
    thread,
};

use balancer_lab::error::{Attempt, Result};
use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    signal::Signal,
};

use serde::Serialize;

use super::{life::Lives, wire::Order};
use table::Table;

/// Does what each line of its input says, an [`Order`], until that ends.
pub fn run(seed: u64, slots: usize) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).attempt("read RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).attempt("raise RLIMIT_NOFILE")?;
    let mut lives = Lives::new(seed, slots);
    let mut table = Table::new(slots)?;
    for line in io::stdin().lock().lines() {
        let line = line.attempt("read an order")?;
        let order: Order =
            serde_json::from_str(&line).map_err(io::Error::from).attempt("understand an order")?;
        match order {
            Order::Operations(count) => {
                for operation in lives.by_ref().take(count) {
                    table.perform(operation)?;
                }
                answer(&table.report())?;
            }
            Order::Past(cookie) => answer(&table.past(cookie))?,
        }
    }
    Ok(())
}

fn answer(what: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(what).map_err(io::Error::from).attempt("write an answer")?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).attempt("answer")
}

/// Holds what is open as standard input until it is killed, as it is when its parent ends.
pub fn hold() -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).attempt("ask to die with the parent")?;
    loop {
        thread::park();
    }
}
