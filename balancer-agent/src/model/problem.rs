//! What is wrong with objects, and is told.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ObjectRef;

/// An address of a Service that another one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The Service that goes without.
    pub service: ObjectRef,
    /// Path of the field; empty where no single field is at fault.
    pub field: &'static str,
    /// What is wrong and what to do about it, in words that are the same on every node.
    pub message: String,
}

impl Clash {
    /// The same among all that is wrong.
    pub fn problem(&self) -> Problem {
        let Self { service, field, message } = self;
        let object = format!("Service {service}");
        Problem { object, field: (*field).to_owned(), message: message.clone() }
    }
}

/// Input that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// Where it stands: `FILE`, `FILE, document N`, or the kind and name of an object.
    pub object: String,
    /// Path of the field, such as `spec.ports[0].port`; empty where no single field is at fault.
    pub field: String,
    /// What is wrong, what happens instead, and what to do about it.
    pub message: String,
}

impl Problem {
    /// Problems that are told at most. A source may have many thousand objects with as many faults.
    const MOST: usize = 1_000;

    /// The first of them, and how many there are beyond.
    pub fn bounded(mut problems: Vec<Self>) -> Vec<Self> {
        let more = problems.len().saturating_sub(Self::MOST);
        problems.truncate(Self::MOST);
        if more > 0 {
            problems.push(Self {
                object: "other objects".to_owned(),
                field: String::new(),
                message: format!("{more} more problems are not told: mend those that are"),
            });
        }
        problems
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "{}: {}", self.object, self.message)
        } else {
            write!(f, "{}: {}: {}", self.object, self.field, self.message)
        }
    }
}
