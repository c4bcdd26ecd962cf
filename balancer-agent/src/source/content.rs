//! What a file defines: its bytes read afresh, then laid over what it defined before.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    decode::Decoded,
    object::{Fault, Found, Key, Position, STAYS},
    reading::{self, Decodings},
};
use crate::model::Problem;

/// What a file defines of one object.
#[derive(Debug)]
pub struct Definition {
    pub place: Position,
    /// When the file began to define it: of two definitions the older is in force.
    pub since: u64,
    pub found: Found,
}

/// What a file defines.
#[derive(Debug, Default)]
pub struct Content {
    pub definitions: BTreeMap<Key, Definition>,
    pub problems: Vec<Problem>,
    /// True once all of the file was understood; before, it may define what nobody knows.
    pub was_whole: bool,
    memory: Decodings,
}

impl Content {
    /// What the file defines when it reads `bytes` after it defined `self`; `now` is the `since`
    /// of what is new.
    pub fn reread(mut self, file: &str, bytes: &[u8], now: u64) -> Self {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("not UTF-8 at byte {}; {STAYS}", error.valid_up_to() + 1);
                return self.unreadable(Fault::new("", message).at(file.to_owned()));
            }
        };
        let objects = if file.ends_with(".json") {
            reading::json(text)
        } else {
            reading::yaml(text, &mut self.memory)
        };
        let memory = std::mem::take(&mut self.memory);
        let fresh = Self { memory, ..Self::default() };
        let mut reading = Reading { content: fresh, complete: true };
        for (place, decoded) in objects {
            reading.add(file, place, decoded, now);
        }
        reading.after(self)
    }

    /// The file defines nothing any more.
    pub fn emptied(&self) -> Self {
        Self { was_whole: self.was_whole, ..Self::default() }
    }

    /// The file can't be read any more: it defines what it did, and the reason is told.
    pub fn unreadable(self, problem: Problem) -> Self {
        Self { problems: vec![problem], ..self }
    }
}

/// A file as it reads now, before its past is considered.
struct Reading {
    content: Content,
    /// False where a part could be about any object: then nothing the file defined is gone.
    complete: bool,
}

impl Reading {
    fn add(&mut self, file: &str, place: Position, decoded: Decoded, now: u64) {
        let problems = &mut self.content.problems;
        match decoded {
            Decoded::Defined(key, found, faults) => {
                let named = || format!("{}: {key}", place.in_file(file));
                if let Some(first) = self.content.definitions.get(&key) {
                    problems.push(duplicate(named(), &first.place.in_file(file)));
                    return;
                }
                problems.extend(faults.into_iter().map(|fault| fault.at(named())));
                self.content.definitions.insert(key, Definition { place, since: now, found });
            }
            Decoded::Ignored => {}
            Decoded::Told(fault) => problems.push(fault.at(place.in_file(file))),
            Decoded::Nameless(fault) => {
                self.complete = false;
                problems.push(fault.at(place.in_file(file)));
            }
        }
    }

    /// What the file defines from now on.
    fn after(self, previous: Content) -> Content {
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

#[cfg(test)]
mod tests;
