//! What a file defines: its bytes read afresh, then laid over what it defined before.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    decode::{Decoded, decode},
    object::{Fault, Found, Key, Place, STAYS},
    parse,
};
use crate::model::Problem;

/// What a file defines of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub place: Place,
    /// When the file began to define it: of two definitions the older is in force.
    pub since: u64,
    pub found: Found,
}

/// What a file defines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub definitions: BTreeMap<Key, Definition>,
    pub problems: Vec<Problem>,
    /// True once all of the file was understood; before, it may define what nobody knows.
    pub was_whole: bool,
}

/// A file as it reads now, before its past is considered.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    content: Content,
    /// False where a part could be about any object: then nothing the file defined is gone.
    complete: bool,
}

/// Reads the bytes of a file; `now` is the `since` of what it defines.
pub fn read(file: &str, bytes: &[u8], now: u64) -> Reading {
    let mut reading = Reading { content: Content::default(), complete: true };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("not UTF-8 at byte {}; {STAYS}", error.valid_up_to() + 1);
            reading.unclear(Fault::new("", message).at(file.to_owned()));
            return reading;
        }
    };
    let pieces = if file.ends_with(".json") { parse::json(text) } else { parse::yaml(text) };
    for (place, value) in pieces {
        let object = place.in_file(file);
        match value.map(decode) {
            Ok(Decoded::Defined(key, found, faults)) => {
                let named = format!("{object}: {key}");
                let problems = faults.into_iter().map(|fault| fault.at(named.clone()));
                match reading.content.definitions.entry(key) {
                    Entry::Vacant(entry) => {
                        entry.insert(Definition { place, since: now, found });
                        reading.content.problems.extend(problems);
                    }
                    Entry::Occupied(entry) => {
                        let first = entry.get().place.in_file(file);
                        reading.content.problems.push(duplicate(named, &first));
                    }
                }
            }
            Ok(Decoded::Ignored) => {}
            Ok(Decoded::Foreign(fault)) => reading.content.problems.push(fault.at(object)),
            Ok(Decoded::Nameless(fault)) | Err(fault) => reading.unclear(fault.at(object)),
        }
    }
    reading
}

/// Says that an object is defined at another place, which is in force.
pub fn duplicate(object: String, first: &str) -> Problem {
    Problem {
        object,
        field: String::new(),
        message: format!(
            "{first} defines this object too and came first: that one is in force, this one is \
             ignored; remove one of the two"
        ),
    }
}

impl Reading {
    fn unclear(&mut self, problem: Problem) {
        self.complete = false;
        self.content.problems.push(problem);
    }

    /// What the file defines from now on.
    pub fn after(self, previous: Content) -> Content {
        let mut content = self.content;
        let decoded = content.definitions.values().all(|new| new.found != Found::Undecodable);
        content.was_whole = previous.was_whole || (self.complete && decoded);
        for (key, old) in previous.definitions {
            match content.definitions.entry(key) {
                Entry::Occupied(mut entry) => {
                    let new = entry.get_mut();
                    if old.found != Found::Undecodable {
                        new.since = old.since;
                    }
                    if new.found == Found::Undecodable {
                        new.found = old.found;
                    }
                }
                Entry::Vacant(entry) if !self.complete => {
                    entry.insert(old);
                }
                Entry::Vacant(_) => {}
            }
        }
        content
    }
}

impl Content {
    /// The file can't be read any more: it defines what it did, and the reason is told.
    pub fn unreadable(self, problem: Problem) -> Self {
        Self { problems: vec![problem], ..self }
    }
}
