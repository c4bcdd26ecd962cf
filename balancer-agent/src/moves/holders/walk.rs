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
    /// Not all of the processes were looked at, or not since it was opened.
    NotYet,
}

/// A walk over processes, which is gone on with where it was left off.
#[derive(Debug)]
pub struct Walk {
    /// When it began, by the clock of the records.
    began: Duration,
    todo: VecDeque<u32>,
    places: Places,
    /// True if it was left off at some time.
    is_long: bool,
}

impl Walk {
    /// Will look at these processes.
    pub fn new(now: Duration, processes: impl IntoIterator<Item = u32>) -> Self {
        Self {
            began: now,
            todo: processes.into_iter().collect(),
            places: Places::new(),
            is_long: false,
        }
    }

    /// Looks at processes, until all were looked at or `look` says that there is no time for one.
    pub fn go_on(&mut self, mut look: impl FnMut(u32, &mut Places) -> bool) {
        while let Some(process) = self.todo.front()
            && look(*process, &mut self.places)
        {
            self.todo.pop_front();
        }
        self.is_long |= !self.is_whole();
    }

    /// True once all processes were looked at.
    pub fn is_whole(&self) -> bool {
        self.todo.is_empty()
    }

    /// True if one piece was not enough for it.
    pub const fn is_long(&self) -> bool {
        self.is_long
    }

    /// How long ago it began.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// What it tells of a socket that was opened at this time.
    pub fn tell(&self, inode: u32, opened: Duration) -> Told {
        match self.places.get(&inode) {
            Some(place) => Told::There(*place),
            None if self.is_whole() && opened <= self.began => Told::Nowhere,
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
    fn look(process: u32, places: &mut Places) -> bool {
        places.insert(process, place(process));
        true
    }

    #[test]
    fn a_walk_goes_on_where_it_was_left_off() {
        let opened = Duration::from_secs(1);
        let mut walk = Walk::new(Duration::from_secs(2), [10, 20, 30]);
        for (rounds, told) in [(1, Told::NotYet), (2, Told::NotYet), (3, Told::There(place(30)))] {
            let mut left = 1;
            walk.go_on(|process, places| {
                let has_time = left > 0;
                left -= 1;
                has_time && look(process, places)
            });
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
        walk.go_on(look);
        assert_eq!(walk.tell(40, before), Told::Nowhere);
        assert_eq!(walk.tell(40, after), Told::NotYet);
        assert!(!walk.is_long());
    }
}
