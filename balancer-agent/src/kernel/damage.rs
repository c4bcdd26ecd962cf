//! What somebody did to what was put in place, and why it can't be put back.

use std::{error::Error as StdError, fmt, path::PathBuf};

use thiserror::Error;

use super::KernelError;

/// Something that was put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A program, attached.
    Program(&'static str),
    /// The pin of a link.
    Link(&'static str),
    /// The pin of a map.
    Map(&'static str),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(name) => write!(f, "program {name}"),
            Self::Link(name) => write!(f, "the pin of link {name}"),
            Self::Map(name) => write!(f, "the pin of map {name}"),
        }
    }
}

/// What was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is attached no more.
    Detached,
    /// Another one has its place.
    Replaced,
    /// It is there no more.
    Removed,
    /// It leads to something else.
    Misled,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detached => "was detached",
            Self::Replaced => "was replaced by another",
            Self::Removed => "was removed",
            Self::Misled => "led to something else",
        })
    }
}

/// What was wrong and is right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mended {
    /// What it is.
    pub object: Object,
    /// What was done to it.
    pub change: Change,
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.change)
    }
}

/// What is wrong, and can't be mended, or not yet.
#[derive(Debug, Error)]
pub enum Broken {
    /// There is no place for pins.
    #[error(
        "{} is on no BPF file system any more: mount it again, else balancing ends with the agent",
        .0.display()
    )]
    Unmounted(PathBuf),
    /// The place for pins can't be kept.
    #[error(transparent)]
    Place(#[from] KernelError),
    /// It can't be looked at.
    #[error("{object} can't be looked at: {source}")]
    Unseen {
        /// What it is.
        object: Object,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// It can't be put back.
    #[error("{object} {change}, and can't be put back: {source}")]
    Lost {
        /// What it is.
        object: Object,
        /// What was done to it.
        change: Change,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn damage_names_the_object_and_the_cause() {
        let object = Object::Program("connect4");
        let mended = Mended { object, change: Change::Detached };
        assert_eq!(mended.to_string(), "program connect4 was detached");
        let source = Box::new(io::Error::from_raw_os_error(libc::EPERM));
        let lost = Broken::Lost { object: Object::Map("NAMES"), change: Change::Removed, source };
        let told = "the pin of map NAMES was removed, and can't be put back: Operation not \
                    permitted (os error 1)";
        assert_eq!(lost.to_string(), told);
        assert!(StdError::source(&lost).is_some());
    }
}
