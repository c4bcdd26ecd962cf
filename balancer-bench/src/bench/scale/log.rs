//! What the agent says of its work.

use std::time::{Duration, SystemTime};

use balancer_lab::{
    Agent,
    error::{Error, Result},
};
use serde_json::Value;

use crate::bench::tail::Tail;

/// The line about a change that is in the maps.
const WRITTEN: &str = "maps are up to date";
/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads the log of an agent as it grows.
pub(super) struct Log(Tail);

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
    pub(super) fn open(agent: &Agent) -> Result<Self> {
        Tail::open(agent).map(Self)
    }

    /// The next change that made a difference to the maps.
    pub(super) fn update(&mut self) -> Result<Update> {
        let update = self.0.next(PATIENCE, |line| parse(line).filter(|update| update.rows > 0))?;
        update.ok_or_else(|| Error::Unmet("the agent wrote no change to the maps in time".into()))
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
