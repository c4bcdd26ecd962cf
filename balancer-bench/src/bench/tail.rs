//! Reads the log of an agent as it grows.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    thread,
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent,
    error::{Attempt, Result, on},
};

/// Between two looks at its end. Files can't be waited for, and a watch would wake up no earlier.
const TICK: Duration = Duration::from_millis(1);

/// The log, from its beginning on.
pub(super) struct Tail {
    file: BufReader<File>,
    /// A line that is not complete yet.
    line: String,
}

impl Tail {
    pub(super) fn open(agent: &Agent) -> Result<Self> {
        let path = agent.log_path();
        let file = File::open(&path).attempt(on("open", &path))?;
        Ok(Self { file: BufReader::new(file), line: String::new() })
    }

    /// The next line that says something; none if none comes in time.
    pub(super) fn next<T>(
        &mut self,
        within: Duration,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let deadline = Instant::now() + within;
        loop {
            self.file.read_line(&mut self.line).attempt("read the agent's log")?;
            if self.line.ends_with('\n') {
                let found = read(&self.line);
                self.line.clear();
                if found.is_some() {
                    return Ok(found);
                }
            } else {
                thread::sleep(TICK);
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
        }
    }
}
