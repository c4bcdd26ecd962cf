//! Which files to read when, and what the folder defines.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    disk::{self, Listing, Stamp},
    merge::{Merged, merge},
    tracked::{Due, Fresh, GONE, Outcome, Tracked, WRITING},
    watch::Signal,
};
use crate::model::Problem;

/// A folder that came back, or was swapped for another, is complete after this long.
const RETURNED: Duration = Duration::from_secs(1);

/// The first state waits this long for files that are being written.
const START: Duration = Duration::from_secs(5);

/// Bytes of files that are in memory at the same time, but for one file that may be larger.
const AT_ONCE: usize = 8 << 20;

/// The folder as it was last understood.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    itself: Option<Stamp>,
    /// When the folder was listed for the first time.
    opened: Option<Instant>,
    files: BTreeMap<String, Tracked>,
    /// Why the folder can't be listed, while it can't.
    away: Option<Problem>,
    generation: u64,
    last_gone: Option<Instant>,
}

impl Folder {
    /// A folder of which nothing is known yet.
    pub fn new(dir: PathBuf) -> Self {
        let files = BTreeMap::new();
        Self { dir, itself: None, opened: None, files, away: None, generation: 0, last_gone: None }
    }

    /// True once every file was read, or found to be unreadable; a file that is written without
    /// end is not waited for, and what it defines counts as missing.
    pub fn is_complete(&self, now: Instant) -> bool {
        let all = self.files.values().all(|file| file.known);
        self.opened.is_some_and(|opened| all || opened + START < now)
    }

    /// True while the folder can't be listed.
    pub fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// When the next file is due.
    pub fn next_due(&self) -> Option<Instant> {
        let due = self.files.values().filter_map(|file| Some(file.due?.at)).min();
        due.filter(|_| !self.is_away())
    }

    /// Takes note of a signal.
    pub fn note(&mut self, signal: Signal, now: Instant) {
        let (name, at) = match signal {
            Signal::Ready(name) => (name, now),
            Signal::Writing(name) => (name, now + WRITING),
            Signal::Folder | Signal::Stop => return,
        };
        self.files.entry(name).or_default().due = Some(Due::at(at));
    }

    /// Compares the folder on disk with what is known, for what no event told; true where the
    /// folder went away or came back.
    pub fn compare(&mut self, listing: &io::Result<Listing>, now: Instant) -> bool {
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => {
                let message = format!(
                    "the manifests folder can't be read ({error}): all it defined stays in force, \
                     and it is read again as soon as it is back"
                );
                let object = self.dir.display().to_string();
                return self
                    .away
                    .replace(Problem { object, field: String::new(), message })
                    .is_none();
            }
        };
        let returned = self.away.take().is_some();
        let swapped = self.itself.is_some_and(|itself| !itself.same_file(&listing.folder));
        self.itself = Some(listing.folder);
        self.opened.get_or_insert(now);
        for (name, listed) in &listing.files {
            let file = self.files.entry(name.clone()).or_default();
            if returned {
                file.due = Some(Due::at(now));
            } else if !file.known || file.stamp != listed.stamp {
                // Written in place, and no event told: leave the writer some time.
                let in_place =
                    file.stamp.zip(listed.stamp).is_some_and(|(old, new)| old.same_file(&new));
                let wait = if in_place { WRITING } else { Duration::ZERO };
                file.due.get_or_insert(Due::at(now + wait));
            }
        }
        for (name, file) in &mut self.files {
            if !listing.files.contains_key(name) {
                if returned {
                    file.due = None;
                }
                let grace = if returned || swapped { RETURNED } else { GONE };
                file.due.get_or_insert(Due::patiently(now + grace));
            }
        }
        returned
    }

    /// Reads files that are due, until what was read has [`AT_ONCE`] bytes: a folder may be larger than
    /// the agent's memory, and what files define is smaller.
    pub fn read_due(&mut self, now: Instant) -> Vec<Fresh> {
        if self.is_away() {
            return Vec::new();
        }
        let mut read = Vec::new();
        let mut size = 0;
        for (name, file) in &mut self.files {
            if size >= AT_ONCE {
                break;
            }
            if let Some(due) = file.due.take_if(|due| due.at <= now) {
                let (stamp, bytes) = disk::read(&self.dir.join(name));
                if let disk::Bytes::Whole(bytes) = &bytes {
                    size += bytes.len();
                }
                read.push(Fresh { name: name.clone(), stamp, bytes, patient: due.patient });
            }
        }
        read
    }

    /// Takes in what was read, except where a signal has come since; true where what the folder
    /// defines may be different.
    pub fn settle(&mut self, fresh: Vec<Fresh>, now: Instant) -> bool {
        self.generation += 1;
        let mut changed = false;
        for fresh in fresh {
            let name = fresh.name.clone();
            let Some(file) = self.files.get_mut(&name).filter(|file| file.due.is_none()) else {
                continue;
            };
            match file.take_in(fresh, self.generation, now) {
                Outcome::Changed => changed = true,
                Outcome::Waiting => {}
                Outcome::JustGone => self.last_gone = Some(now),
                // While more files go, this may be a folder on its way out.
                Outcome::Gone if self.last_gone.is_some_and(|last| now < last + GONE) => {
                    file.due = Some(Due::patiently(now + GONE));
                }
                Outcome::Gone => {
                    changed = true;
                    if self.dir.join(&name).is_symlink() {
                        file.dangle(&name);
                    } else {
                        self.files.remove(&name);
                    }
                }
            }
        }
        changed
    }

    /// What the folder defines.
    pub fn merged(&self) -> Merged {
        let files = self.files.iter().map(|(name, file)| (name.as_str(), &file.content));
        merge(files, self.away.clone())
    }
}
