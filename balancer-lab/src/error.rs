//! The one error of the lab: every caller only reports it, so it carries sentences, not cases.

use std::{fmt, io, path::Path};

/// A result of the lab.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong while building, using or removing a lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call or file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, naming the object.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// The machine, or the state of the lab, lacks something; the sentence says what to do.
    #[error("{0}")]
    Unmet(String),
}

/// Says what was attempted when an I/O operation fails.
pub trait Attempt<T> {
    /// Names the attempt, e.g. `create cgroup /sys/fs/cgroup/x`.
    fn attempt(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::Io { what: what.to_string(), source: error.into() })
    }
}

/// `attempt` for operations on a path.
pub fn on(verb: &str, path: &Path) -> String {
    format!("{verb} {}", path.display())
}
