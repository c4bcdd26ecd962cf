//! Looks through the descriptors of many processes, a piece at a time.

use std::{
    collections::{HashMap, VecDeque},
    os::fd::RawFd,
    time::Duration,
};

/// Where a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The process.
    pub process: u32,
    /// A thread of it that runs.
    pub thread: u32,
    /// Its descriptor.
    pub descriptor: RawFd,
}

/// Sockets of processes, by inode.
pub type Places = HashMap<u32, Place>;

/// What a walk tells of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was seen there.
    There(Place),
    /// None of the processes had it.
    Nowhere,
    /// Not all descriptors of the processes were looked at, or not since it was opened.
    NotYet,
}

/// How far a process was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// At all of its descriptors.
    All,
    /// It has more than are looked at.
    Most,
    /// There was no time for it.
    NoTime,
}

/// A walk over processes, which is gone on with where it was left off.
#[derive(Debug)]
pub struct Walk {
    /// When it began, by the clock of the records.
    began: Duration,
    /// When it was gone on with for the last time.
    went_on: Duration,
    todo: VecDeque<u32>,
    places: Places,
    /// True if it was left off at some time.
    is_long: bool,
    /// True if a process has more descriptors than are looked at.
    is_cut: bool,
}

impl Walk {
    /// Will look at these processes.
    pub fn new(now: Duration, processes: impl IntoIterator<Item = u32>) -> Self {
        Self {
            began: now,
            went_on: now,
            todo: processes.into_iter().collect(),
            places: Places::new(),
            is_long: false,
            is_cut: false,
        }
    }

    /// Looks at processes, until all were looked at or there is no time for one. `now` gives the time
    /// when that is done.
    pub fn go_on(
        &mut self,
        now: impl Fn() -> Duration,
        mut look: impl FnMut(u32, &mut Places) -> Looked,
    ) {
        if self.is_whole() {
            return;
        }
        while let Some(process) = self.todo.front() {
            match look(*process, &mut self.places) {
                Looked::All => {}
                Looked::Most => self.is_cut = true,
                Looked::NoTime => break,
            }
            self.todo.pop_front();
        }
        self.is_long |= !self.is_whole();
        self.went_on = now();
    }

    /// True once all processes were looked at.
    pub fn is_whole(&self) -> bool {
        self.todo.is_empty()
    }

    /// True if one piece was not enough for it.
    pub const fn is_long(&self) -> bool {
        self.is_long
    }

    /// How long ago it was gone on with for the last time: once it is whole, how old it is.
    pub fn rested(&self, now: Duration) -> Duration {
        now.saturating_sub(self.went_on)
    }

    /// What it tells of a socket that was opened at this time.
    pub fn tell(&self, inode: u32, opened: Duration) -> Told {
        match self.places.get(&inode) {
            Some(place) => Told::There(*place),
            None if self.is_whole() && !self.is_cut && opened <= self.began => Told::Nowhere,
            None => Told::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn place(process: u32) -> Place {
        Place { process, thread: process, descriptor: 3 }
    }

    /// Each process has a socket of its number.
    fn look(process: u32, places: &mut Places) -> Looked {
        places.insert(process, place(process));
        Looked::All
    }

    #[test]
    fn a_walk_goes_on_where_it_was_left_off() {
        let opened = Duration::from_secs(1);
        let mut walk = Walk::new(Duration::from_secs(2), [10, 20, 30]);
        for (rounds, told) in [(1, Told::NotYet), (2, Told::NotYet), (3, Told::There(place(30)))] {
            let mut left = 1;
            let now = || Duration::from_secs(20 + rounds);
            walk.go_on(now, |process, places| {
                left -= 1;
                if left < 0 { Looked::NoTime } else { look(process, places) }
            });
            assert_eq!(walk.rested(Duration::from_secs(30)), Duration::from_secs(10 - rounds));
            assert_eq!(walk.tell(10, opened), Told::There(place(10)));
            assert_eq!(walk.tell(30, opened), told, "after {rounds}");
            assert_eq!((walk.is_whole(), walk.is_long()), (rounds == 3, true));
        }
    }

    #[test]
    fn only_a_whole_walk_since_it_was_opened_tells_that_nobody_has_it() {
        let mut walk = Walk::new(Duration::from_secs(2), [10]);
        let (before, after) = (Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!(walk.tell(40, before), Told::NotYet);
        walk.go_on(Duration::default, look);
        assert_eq!(walk.tell(40, before), Told::Nowhere);
        assert_eq!(walk.tell(40, after), Told::NotYet);
        assert!(!walk.is_long());
    }

    #[test]
    fn a_process_with_more_descriptors_than_are_looked_at_may_have_it() {
        let mut walk = Walk::new(Duration::from_secs(2), [10, 20]);
        walk.go_on(Duration::default, |process, places| {
            look(process, places);
            if process == 10 { Looked::Most } else { Looked::All }
        });
        assert!(walk.is_whole());
        assert_eq!(walk.tell(10, Duration::ZERO), Told::There(place(10)));
        assert_eq!(walk.tell(40, Duration::ZERO), Told::NotYet);
    }
}
