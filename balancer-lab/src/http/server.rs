//! A backend process in a pod.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
    time::Duration,
};

use super::Pools;
use crate::{
    Lab, Place,
    error::{Attempt, Error, Result},
};

/// A running backend. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
}

impl Server {
    /// Starts `balancer-lab serve` and returns once it listens.
    pub fn start(place: &Place, name: &str, listen: &[SocketAddr]) -> Result<Self> {
        Self::spawn(place, name, listen, &[])
    }

    /// The same with gRPC.
    pub fn start_grpc(place: &Place, name: &str, listen: &[SocketAddr]) -> Result<Self> {
        Self::spawn(place, name, listen, &["--grpc"])
    }

    /// The same for what clients with such pools speak. Each request is answered after `delay`.
    pub fn start_for(
        pools: Pools,
        place: &Place,
        name: &str,
        listen: &[SocketAddr],
        delay: Duration,
    ) -> Result<Self> {
        let millis = delay.as_millis().to_string();
        let mut flags = vec!["--delay-ms", &millis];
        match pools {
            Pools::Channel => flags.push("--grpc"),
            Pools::Http2 => flags.push("--http2"),
            Pools::PerThread | Pools::Shared | Pools::None => {}
        }
        Self::spawn(place, name, listen, &flags)
    }

    /// The same for a backend that every request occupies for `work`, one at a time.
    pub fn start_working(
        place: &Place,
        name: &str,
        listen: &[SocketAddr],
        work: Duration,
    ) -> Result<Self> {
        Self::spawn(place, name, listen, &["--work-us", &work.as_micros().to_string()])
    }

    fn spawn(place: &Place, name: &str, listen: &[SocketAddr], flags: &[&str]) -> Result<Self> {
        let mut command = Lab::self_command(place)?;
        command.args(["serve", "--name", name]).args(flags);
        for address in listen {
            command.args(["--listen", &address.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .attempt(format!("start backend {name}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).attempt(format!("read from {name}"))?;
        }
        let server = Self { child: Some(child) };
        if line.trim_end() == "listening" {
            return Ok(server);
        }
        Err(Error::Unmet(format!("backend {name} did not start on {listen:?}; it says why above")))
    }

    /// Kills the backend (SIGKILL): its connections are reset.
    pub fn kill(self) {
        drop(self);
    }

    /// Lets the backend run on when the caller exits; for [`Lab::leave`].
    pub fn detach(mut self) {
        self.child = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already: there is nothing left to do about either result.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
