//! Ends the charges of UDP sockets that are connected no longer.
//!
//! No hook sees a UDP socket dissolve its association (`connect()` to AF_UNSPEC), nor that its
//! `connect()` failed inside the kernel after the hook (no route, no free port). Such a socket would
//! count until it is closed. So every now and then the connected sockets of each network namespace
//! that has such charges are listed, and what is charged to one backend and not connected to it is
//! ended.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use balancer_common::charge;

use crate::{
    maps::{Charges, Connected},
    moves::{
        datagrams::{Search, searches},
        helper::udp::Seen,
    },
};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(4);

/// Remembers which sockets were not connected at the last look.
#[derive(Debug, Default)]
pub struct Disconnected {
    missed: BTreeSet<Connected>,
    due: Option<Instant>,
}

impl Disconnected {
    /// Looks, if it is time to. `missing` says which sockets are not connected as they should be. Says
    /// how many charges it ended, and why some sockets could not be looked at.
    ///
    /// A socket must be missed at two looks, and right after the second once more: it may be on its
    /// way through `connect()`, and a listing may skip one while others come and go.
    pub fn pass(
        &mut self,
        maps: &impl Charges,
        charged: &[Connected],
        peer: impl Fn(&Connected) -> Option<SocketAddr>,
        missing: impl Fn(Vec<Search>) -> Seen<BTreeSet<u64>>,
        now: Instant,
    ) -> Seen<usize> {
        let mut seen = Seen { done: 0, failed: Vec::new() };
        if self.due.is_some_and(|due| now < due) {
            return seen;
        }
        self.due = Some(now + INTERVAL);
        let before = std::mem::take(&mut self.missed);
        let look = |charged: &[Connected]| {
            let searches = searches(charged, &peer);
            if searches.is_empty() {
                return Seen { done: BTreeSet::new(), failed: Vec::new() };
            }
            missing(searches)
        };
        let first = look(charged);
        seen.failed.extend(first.failed);
        let missed = charged.iter().copied().filter(|found| first.done.contains(&cookie(found)));
        let (again, new): (Vec<_>, Vec<_>) = missed.partition(|found| before.contains(found));
        self.missed.extend(new);
        let second = look(&again);
        seen.failed.extend(second.failed);
        for found in again.iter().filter(|found| second.done.contains(&cookie(found))) {
            seen.done += usize::from(maps.end_charge(found.index, found.word));
        }
        seen
    }
}

const fn cookie(found: &Connected) -> u64 {
    charge::cookie_of(found.word)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Charges that were ended.
    #[derive(Default)]
    struct Fake(RefCell<Vec<u32>>);

    impl Charges for Fake {
        fn unsent(&self) -> Vec<(u32, u64)> {
            Vec::new()
        }
        fn connected_udp(&self) -> Vec<Connected> {
            Vec::new()
        }
        fn end_charge(&self, index: u32, _: u64) -> bool {
            self.0.borrow_mut().push(index);
            true
        }
        fn end_unsent(&self, _: &[(u32, u64)]) -> usize {
            0
        }
    }

    fn charged(index: u32) -> Connected {
        let word = charge::word(index.into(), 7);
        Connected { netns: 1, index, word, service: 3 }
    }

    fn seen(cookies: &[u64]) -> Seen<BTreeSet<u64>> {
        Seen { done: cookies.iter().copied().collect(), failed: Vec::new() }
    }

    #[test]
    fn only_what_three_listings_miss_is_ended() {
        let (maps, mut disconnected) = (Fake::default(), Disconnected::default());
        let all = [charged(1), charged(2), charged(3)];
        let peer = |_: &Connected| Some(([10, 244, 0, 1], 53).into());
        let start = Instant::now();
        let first = |searches: Vec<Search>| {
            assert_eq!(searches.iter().map(|search| search.sockets.len()).sum::<usize>(), 3);
            seen(&[1, 2])
        };
        assert_eq!(disconnected.pass(&maps, &all, peer, first, start).done, 0);
        let early = |_: Vec<Search>| -> Seen<BTreeSet<u64>> { panic!("it is not time yet") };
        assert_eq!(disconnected.pass(&maps, &all, peer, early, start + INTERVAL / 2).done, 0);
        // The first is connected again by the third listing, which asks for these two alone.
        let second = |searches: Vec<Search>| match searches[0].sockets.len() {
            3 => seen(&[1, 2, 3]),
            2 => seen(&[2]),
            other => panic!("{other}"),
        };
        assert_eq!(disconnected.pass(&maps, &all, peer, second, start + INTERVAL).done, 1);
        assert_eq!(maps.0.take(), [2]);
    }

    #[test]
    fn what_cannot_be_listed_is_told_and_kept() {
        let (maps, mut disconnected) = (Fake::default(), Disconnected::default());
        let peer = |_: &Connected| Some(([10, 244, 0, 1], 53).into());
        let failed = |_| Seen { done: BTreeSet::new(), failed: vec!["no memory".to_owned()] };
        let pass = disconnected.pass(&maps, &[charged(1)], peer, failed, Instant::now());
        assert_eq!((pass.done, pass.failed), (0, vec!["no memory".to_owned()]));
        assert_eq!(maps.0.take(), [0_u32; 0]);
    }
}
