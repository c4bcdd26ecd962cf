//! One file over time: what it defines, and when to read it.
//!
//! A file written in place is read when its writer closes it. What looks like a loss - the file is
//! gone, or empty - is believed only after a while, since editors and copies pass through such
//! moments.

use std::time::{Duration, Instant};

use super::{
    content::Content,
    disk::{Bytes, Stamp},
};
use crate::model::Problem;

/// A writer that keeps the file open is believed to be done after this long without a write.
pub const WRITING: Duration = Duration::from_secs(1);
/// A file that is gone stays gone for this long before its objects go.
pub const GONE: Duration = Duration::from_millis(20);
/// A file that is empty stays so for this long before its objects go.
const EMPTY: Duration = Duration::from_millis(200);

/// When to read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: Instant,
    /// True where a loss was waited for already, and is believed now.
    pub patient: bool,
}

impl Due {
    /// Without a doubt to wait for.
    pub fn at(at: Instant) -> Self {
        Self { at, patient: false }
    }

    /// To see whether a loss is one.
    pub fn patiently(at: Instant) -> Self {
        Self { at, patient: true }
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct Fresh {
    pub name: String,
    pub stamp: Option<Stamp>,
    pub bytes: Bytes,
    pub patient: bool,
}

/// What taking it in came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What the file defines may be different.
    Changed,
    /// Nothing is different yet; the file is due again.
    Waiting,
    /// The file is gone for the first time, and due again.
    JustGone,
    /// The file was gone and still is.
    Gone,
}

/// A file of the folder.
#[derive(Debug, Default)]
pub struct Tracked {
    pub content: Content,
    /// State of the file when it was last taken in.
    pub stamp: Option<Stamp>,
    /// True once it was taken in.
    pub known: bool,
    pub due: Option<Due>,
}

impl Tracked {
    /// Takes in what was read.
    pub fn take_in(&mut self, fresh: Fresh, generation: u64, now: Instant) -> Outcome {
        let patient = fresh.patient;
        match fresh.bytes {
            Bytes::Moving => self.wait(Due::at(now + WRITING)),
            Bytes::Gone if self.known && !patient => {
                self.wait(Due::patiently(now + GONE));
                Outcome::JustGone
            }
            Bytes::Gone => Outcome::Gone,
            Bytes::Whole(bytes) if !patient && self.may_be_emptied(&bytes) => {
                self.wait(Due::patiently(now + EMPTY))
            }
            Bytes::Whole(bytes) => {
                let previous = std::mem::take(&mut self.content);
                let content = previous.reread(&fresh.name, &bytes, generation);
                self.become_known(content, fresh.stamp)
            }
            Bytes::Refused(message) => {
                let problem = Problem { object: fresh.name, field: String::new(), message };
                let content = std::mem::take(&mut self.content).unreadable(problem);
                self.become_known(content, fresh.stamp)
            }
        }
    }

    /// The file is a link to nothing, and stays one.
    pub fn dangle(&mut self, name: &str) {
        let problem = Problem {
            object: name.to_owned(),
            field: String::new(),
            message: "is a link to nothing and defines nothing: mend or remove it".to_owned(),
        };
        let content = self.content.emptied().unreadable(problem);
        self.become_known(content, None);
    }

    fn become_known(&mut self, content: Content, stamp: Option<Stamp>) -> Outcome {
        *self = Self { content, stamp, known: true, due: None };
        Outcome::Changed
    }

    fn wait(&mut self, due: Due) -> Outcome {
        self.due = Some(due);
        Outcome::Waiting
    }

    fn may_be_emptied(&self, bytes: &[u8]) -> bool {
        let may_define = !self.known || !self.content.definitions.is_empty();
        may_define && bytes.iter().all(u8::is_ascii_whitespace)
    }
}

#[cfg(test)]
mod tests;
