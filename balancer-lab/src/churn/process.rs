//! The process, from outside.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use super::Count;
use crate::{
    Lab, Place,
    error::{Attempt, Error, Result},
};

/// What a churning process is to do.
#[derive(Clone, Copy, Debug)]
pub struct ChurnOptions {
    /// Seed of its random choices.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
    /// Where it connects to.
    pub target: SocketAddr,
    /// Where it is refused.
    pub refusing: Option<SocketAddr>,
    /// Connections that each thread holds on average.
    pub held: usize,
}

/// A churning process. Dropping it kills it (SIGKILL) and waits for its end.
#[derive(Debug)]
pub struct Churn {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Churn {
    /// Starts `balancer-lab churn`.
    pub fn start(place: &Place, options: &ChurnOptions) -> Result<Self> {
        let mut command = Lab::self_command(place)?;
        command
            .args(["churn", &options.target.to_string()])
            .args(["--seed", &options.seed.to_string()])
            .args(["--threads", &options.threads.to_string()])
            .args(["--held", &options.held.to_string()]);
        if let Some(refusing) = options.refusing {
            command.args(["--refusing", &refusing.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .attempt("start balancer-lab churn")?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => {
                Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
            }
            _ => Err(Error::Unmet("balancer-lab churn has no pipes".into())),
        }
    }

    /// Tells it to make so many steps on every thread; [`Churn::still`] waits for their end.
    pub fn go(&mut self, steps: u64) -> Result<()> {
        writeln!(self.stdin, "{steps}").attempt("speak to balancer-lab churn")
    }

    /// Waits until it holds still.
    pub fn still(&mut self) -> Result<Count> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).attempt("listen to balancer-lab churn")?;
        serde_json::from_str(&line)
            .map_err(|error| Error::Unmet(format!("balancer-lab churn said {line:?}: {error}")))
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
