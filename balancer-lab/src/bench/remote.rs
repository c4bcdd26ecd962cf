//! The measuring process, from outside.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, SocketAddrV4},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde::de::DeserializeOwned;

use super::job::{Connects, Job, SocketUse};
use crate::{
    Lab, Pod,
    error::{Attempt, Error, Result},
};

/// A measuring process in a client pod. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Remote {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Remote {
    /// Starts it and returns once it listens in the backends.
    pub(super) fn start(lab: &Lab, client: &Pod, backends: &[Pod], pinned: bool) -> Result<Self> {
        let mut command = Lab::self_command(client.place())?;
        command.args(["bench-worker", "--lab", lab.id()]);
        for pod in backends {
            command.args(["--backend", pod.name()]);
        }
        if pinned {
            command.arg("--pinned");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .attempt("start the measuring process")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Unmet("the measuring process has no pipes".into()));
        };
        let mut remote = Self { child, stdin, stdout: BufReader::new(stdout) };
        remote.answer::<String>().map(|_| remote)
    }

    /// Opens and closes connections; their other ends wait for [`Remote::accept`].
    pub(super) fn connect(
        &mut self,
        targets: &[SocketAddrV4],
        count: u32,
        warm_up: u32,
        ask_peer: bool,
    ) -> Result<Connects> {
        self.ask(&Job::Connect { targets: targets.to_vec(), count, warm_up, ask_peer })
    }

    /// Uses sockets, one after another.
    pub(super) fn use_sockets(
        &mut self,
        target: SocketAddr,
        usage: SocketUse,
        count: u32,
    ) -> Result<()> {
        self.ask(&Job::Use { target, usage, count })
    }

    /// Closes the other ends; the number on each backend.
    pub(super) fn accept(&mut self, count: u32) -> Result<Vec<u32>> {
        self.ask(&Job::Accept { count })
    }

    /// Nanoseconds of each exchange.
    pub(super) fn ping_pong(&mut self, target: SocketAddrV4, exchanges: u32) -> Result<Vec<u32>> {
        self.ask(&Job::PingPong { target, exchanges })
    }

    /// Seconds that many chunks take.
    pub(super) fn bulk(&mut self, target: SocketAddrV4, chunks: u32) -> Result<f64> {
        self.ask(&Job::Bulk { target, chunks })
    }

    /// For each trial the number of connections on each backend.
    pub(super) fn spread(
        &mut self,
        target: SocketAddrV4,
        connections: u32,
        trials: u32,
    ) -> Result<Vec<Vec<u32>>> {
        self.ask(&Job::Spread { target, connections, trials })
    }

    fn ask<T: DeserializeOwned>(&mut self, job: &Job) -> Result<T> {
        let line =
            serde_json::to_string(job).map_err(std::io::Error::from).attempt("describe a job")?;
        writeln!(self.stdin, "{line}").attempt("ask the measuring process")?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).attempt("read from the measuring process")?;
        let answer: Result<T, String> = serde_json::from_str(&line).map_err(|error| {
            Error::Unmet(format!("the measuring process said {:?}: {error}", line.trim_end()))
        })?;
        answer.map_err(Error::Unmet)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
