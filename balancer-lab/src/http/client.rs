//! A client process in a pod, started, released and asked in steps.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use super::{LoadOptions, Pools, Report, Until};
use crate::{
    Lab, Place,
    error::{Attempt, Error, Result},
};

/// A client process. It waits to be told to start, so that several start together, and keeps its
/// pooled connections open until it is released or dropped.
#[derive(Debug)]
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    /// Starts `balancer-lab client` and returns once it is ready to send.
    pub fn start(place: &Place, options: &LoadOptions) -> Result<Self> {
        let mut command = Lab::self_command(place)?;
        let pools = match options.pools {
            Pools::PerThread => "per-thread",
            Pools::Shared => "shared",
            Pools::None => "none",
            Pools::Channel => "channel",
            Pools::Http2 => "http2",
        };
        command.args(["client", "--in-steps", "--pools", pools]);
        command.args(["--threads", &options.threads.to_string()]);
        command.args(["--pace-ms", &options.pace.as_millis().to_string()]);
        match options.until {
            Until::Elapsed(time) => command.args(["--seconds", &time.as_secs_f64().to_string()]),
            Until::Requests(count) => command.args(["--requests", &count.to_string()]),
            Until::Forever => command.arg("--forever"),
            Until::Told => command.arg("--until-told"),
        };
        let mut child = command
            .arg(options.uri.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .attempt("start a client")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Unmet("the client has no pipes".into()));
        };
        let mut client = Self { child, stdin: Some(stdin), stdout: BufReader::new(stdout) };
        match client.line()?.as_str() {
            "ready" => Ok(client),
            other => Err(Error::Unmet(format!("the client said {other:?} instead of \"ready\""))),
        }
    }

    /// Lets it send.
    pub fn go(&mut self) -> Result<()> {
        self.tell("go")
    }

    /// Has a client that sends [`Until::Told`] send no more.
    pub fn stop(&mut self) -> Result<()> {
        self.tell("stop")
    }

    fn tell(&mut self, word: &str) -> Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Err(Error::Unmet("the client was released".into()));
        };
        writeln!(stdin, "{word}").attempt(format!("say {word} to the client"))
    }

    /// Waits until it has sent everything. Its pooled connections stay open.
    pub fn report(&mut self) -> Result<Report> {
        let line = self.line()?;
        serde_json::from_str(&line)
            .map_err(|error| Error::Unmet(format!("the client said {line:?}: {error}")))
    }

    /// Closes its connections and waits for its end.
    pub fn release(mut self) -> Result<()> {
        drop(self.stdin.take());
        let status = self.child.wait().attempt("wait for the client")?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Unmet(format!("the client ended with {status}")))
        }
    }

    /// Runs a client from start to end, with all its connections closed after.
    pub fn run(place: &Place, options: &LoadOptions) -> Result<Report> {
        let mut client = Self::start(place, options)?;
        client.go()?;
        let report = client.report()?;
        client.release()?;
        Ok(report)
    }

    /// The process identifier.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).attempt("read from the client")?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
