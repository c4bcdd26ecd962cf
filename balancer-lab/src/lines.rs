//! A process that is asked and answers by lines of JSON.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Attempt as _, Error, Result};

/// The process, from outside. Dropping it kills it (SIGKILL) and waits for its end.
#[derive(Debug)]
pub struct Lines {
    /// What it is, for messages.
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Lines {
    /// Starts it.
    pub fn start(command: &mut Command, name: &'static str) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .attempt(format!("start {name}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Unmet(format!("{name} has no pipes")));
        };
        Ok(Self { name, child, stdin, stdout: BufReader::new(stdout) })
    }

    /// Tells it something.
    pub fn tell(&mut self, what: &impl Serialize) -> Result<()> {
        let name = self.name;
        let line = serde_json::to_string(what).map_err(std::io::Error::from);
        let line = line.attempt(format!("describe a job to {name}"))?;
        writeln!(self.stdin, "{line}").attempt(format!("speak to {name}"))
    }

    /// Waits for its next answer.
    pub fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let name = self.name;
        let mut line = String::new();
        self.stdout.read_line(&mut line).attempt(format!("listen to {name}"))?;
        serde_json::from_str(&line)
            .map_err(|error| Error::Unmet(format!("{name} said {:?}: {error}", line.trim_end())))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
