//! What the agent says of its work.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use crate::error::{Attempt, Error, Result, on};

/// The line about a change that is in the maps.
const WRITTEN: &str = "maps are up to date";
/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads the log of an agent as it grows.
pub(super) struct Log {
    file: Result<BufReader<File>>,
    /// A line that is not complete yet.
    line: String,
}

/// A change that is in the maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    /// When it was there.
    pub(super) at: SystemTime,
    /// Since it had arrived, in microseconds.
    pub(super) micros: u64,
    /// Of which writing to the maps.
    pub(super) writing: u64,
    /// Rows that were written.
    rows: usize,
}

impl Log {
    pub(super) fn open(path: &Path) -> Self {
        let file = File::open(path).attempt(on("open", path)).map(BufReader::new);
        Self { file, line: String::new() }
    }

    /// The next change that made a difference to the maps.
    pub(super) fn update(&mut self) -> Result<Update> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let file = match &mut self.file {
                Ok(file) => file,
                Err(error) => return Err(Error::Unmet(error.to_string())),
            };
            file.read_line(&mut self.line).attempt("read the agent's log")?;
            if self.line.ends_with('\n') {
                let update = parse(&self.line);
                self.line.clear();
                if let Some(update) = update.filter(|update| update.rows > 0) {
                    return Ok(update);
                }
                continue;
            }
            if Instant::now() > deadline {
                return Err(Error::Unmet("the agent wrote no change to the maps in time".into()));
            }
            // Files can't be waited for, and a watch would wake up no earlier.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Update {
    /// How long after a moment it was in the maps.
    pub(super) fn after(&self, start: SystemTime) -> Duration {
        self.at.duration_since(start).unwrap_or_default()
    }

    /// When it arrived.
    pub(super) fn begun(&self) -> SystemTime {
        self.at - Duration::from_micros(self.micros)
    }

    /// Rows that were written.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }
}

fn parse(line: &str) -> Option<Update> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value["message"] != WRITTEN {
        return None;
    }
    let at: jiff::Timestamp = value["timestamp"].as_str()?.parse().ok()?;
    Some(Update {
        at: at.into(),
        micros: value["micros"].as_u64()?,
        writing: value["of_which_writing"].as_u64()?,
        rows: value["rows"].as_u64()? as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_changes_are_found() {
        let line = r#"{"timestamp":"2026-01-01T00:00:00.5Z","level":"INFO","rows":3,
            "message":"maps are up to date","micros":1500,"of_which_writing":200}"#;
        let update = parse(line).expect("a change");
        assert_eq!((update.micros, update.writing, update.rows), (1500, 200, 3));
        assert_eq!(
            update.at.duration_since(update.begun()).ok(),
            Some(Duration::from_micros(1500))
        );
        assert!(parse(r#"{"message":"programs attached"}"#).is_none());
        assert!(parse("agent: not JSON").is_none());
    }
}
