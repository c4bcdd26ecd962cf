//! What a soak has done and found.

use std::{fmt, time::Duration};

use super::{oracle::Differences, wire::Report};

/// What a soak has done and found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Operations on sockets.
    pub operations: u64,
    /// Connections to Services.
    pub connections: u64,
    /// Datagrams that were answered, and that were not.
    pub answers: (u64, u64),
    /// Quiet points.
    pub points: u64,
    /// Workers killed with their sockets open.
    pub kills: u64,
    /// Agents killed.
    pub crashes: u64,
    /// Agents that found, at their start, a plan that was cut off, and finished it.
    pub finished: u64,
    /// Writes of the longest plan.
    pub writes: u64,
    /// Starts of the agent from another file, each of which replaced every program.
    pub upgrades: u64,
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

    pub(super) fn add(&mut self, report: &Report) {
        self.operations += report.operations;
        self.connections += report.connections;
        self.answers.0 += report.answers;
        self.answers.1 += report.unanswered;
        self.surprises.extend(report.surprises.iter().cloned());
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.operations as f64 / seconds.max(f64::MIN_POSITIVE);
        writeln!(f, "{:>12} operations in {seconds:.0} s, {rate:.0} a second", self.operations)?;
        writeln!(f, "{:>12} connections to Services", self.connections)?;
        writeln!(
            f,
            "{:>12} answers to datagrams, {} more were lost",
            self.answers.0, self.answers.1
        )?;
        if self.crashes > 0 {
            writeln!(f, "{:>12} agents killed (SIGKILL) under this load", self.crashes)?;
            writeln!(
                f,
                "{:>12} of their plans, of up to {} writes, cut off and finished by the next start",
                self.finished, self.writes
            )?;
        }
        if self.upgrades > 0 {
            writeln!(f, "{:>12} upgrades, each of every program, under this load", self.upgrades)?;
        }
        if self.kills > 0 {
            writeln!(f, "{:>12} client processes killed with their sockets open", self.kills)?;
        }
        writeln!(f, "{:>12} quiet points, with up to {} sockets charged", self.points, self.most)?;
        writeln!(
            f,
            "{:>12} connections that failed and should not have, {} the largest difference of \
             counts and sockets",
            self.surprises.len(),
            self.differences.largest
        )?;
        let wrong = self.differences.said.iter().chain(&self.surprises);
        wrong.take(40).try_for_each(|sentence| writeln!(f, "wrong: {sentence}"))
    }
}
