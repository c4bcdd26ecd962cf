//! What is asked of the process about UDP sockets.

use std::collections::BTreeSet;

use super::{
    Helper, Miss,
    protocol::{Done, Job},
};
use crate::moves::datagrams::{Ending, Found, Search};

/// What came of some jobs, and why others were not done. Those that were put off for the sake of a socket
/// that is held, or for want of time, or whose network namespace has no process left, are in neither.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen<T> {
    /// What came of those that were done.
    pub done: T,
    /// Why others were not.
    pub failed: Vec<String>,
}

impl Helper {
    /// The sockets that are connected as they should be.
    pub fn find_udp(&self, searches: Vec<Search>) -> Seen<Vec<Found>> {
        let jobs: Vec<_> = searches.into_iter().map(Job::Find).collect();
        self.each_udp(&jobs, |all: &mut Vec<Found>, _, done| {
            match done {
                Done::Found(found) => all.extend(found.into_iter().flatten()),
                other => return Some(other),
            }
            None
        })
    }

    /// The cookies of those that are not.
    pub fn missing_udp(&self, searches: Vec<Search>) -> Seen<BTreeSet<u64>> {
        let jobs: Vec<_> = searches.into_iter().map(Job::Miss).collect();
        self.each_udp(&jobs, |all: &mut BTreeSet<u64>, _, done| {
            match done {
                Done::Missed(missing) => all.extend(missing.into_iter().flatten()),
                other => return Some(other),
            }
            None
        })
    }

    /// Ends sockets. Gives the cookies of those that were.
    pub fn end_udp(&self, endings: Vec<Ending>) -> Seen<BTreeSet<u64>> {
        let cookies: Vec<u64> = endings.iter().map(|ending| ending.socket.cookie).collect();
        let jobs: Vec<_> = endings.into_iter().map(Job::Part).collect();
        self.each_udp(&jobs, |all: &mut BTreeSet<u64>, index, done| {
            match done {
                Done::Parted(true) => drop(all.insert(cookies[index])),
                Done::Parted(false) => {}
                other => return Some(other),
            }
            None
        })
    }

    /// Does jobs. `add` adds what came of one, by its index, or gives it back.
    fn each_udp<T: Default>(
        &self,
        jobs: &[Job],
        mut add: impl FnMut(&mut T, usize, Done) -> Option<Done>,
    ) -> Seen<T> {
        let (mut all, mut failed) = (T::default(), BTreeSet::new());
        for (index, done) in self.run(jobs).0.into_iter().enumerate() {
            let other = match done {
                Ok(done) => add(&mut all, index, done),
                Err(Miss::Stuck | Miss::LeftAlone | Miss::Later) => None,
            };
            match other {
                None => {}
                Some(Done::Failed(error)) => drop(failed.insert(error)),
                Some(other) => {
                    failed.insert(format!("the answer is of something else: {other:?}"));
                }
            }
        }
        Seen { done: all, failed: failed.into_iter().collect() }
    }
}
