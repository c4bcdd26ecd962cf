//! A worker, from outside.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde::de::DeserializeOwned;

use super::wire::{Order, Report};
use crate::{
    Lab, Place,
    error::{Attempt, Error, Result},
};

/// A worker in a pod. Dropping it kills it (SIGKILL) and waits for its end.
#[derive(Debug)]
pub(super) struct Remote {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Remote {
    /// Starts `balancer-lab soak-worker`.
    pub(super) fn start(place: &Place, seed: u64, slots: usize) -> Result<Self> {
        let mut child = Lab::self_command(place)?
            .args(["soak-worker", "--seed", &seed.to_string(), "--slots", &slots.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .attempt("start balancer-lab soak-worker")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Unmet("balancer-lab soak-worker has no pipes".into()));
        };
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// Tells it to carry out so many operations; [`Remote::still`] waits for their end.
    pub(super) fn go(&mut self, operations: u64) -> Result<()> {
        self.tell(Order::Operations(operations as usize))
    }

    fn tell(&mut self, order: Order) -> Result<()> {
        let line = serde_json::to_string(&order).map_err(std::io::Error::from);
        let line = line.attempt("write an order")?;
        writeln!(self.stdin, "{line}").attempt("speak to balancer-lab soak-worker")
    }

    /// Waits until it holds still.
    pub(super) fn still(&mut self) -> Result<Report> {
        self.answer()
    }

    /// What was done last to one of its sockets.
    pub(super) fn past(&mut self, cookie: u64) -> Result<Option<Vec<String>>> {
        self.tell(Order::Past(cookie))?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).attempt("listen to balancer-lab soak-worker")?;
        serde_json::from_str(&line).map_err(|error| {
            Error::Unmet(format!("balancer-lab soak-worker said {line:?}: {error}"))
        })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
