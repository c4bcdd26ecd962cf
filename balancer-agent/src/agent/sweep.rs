//! Ends the charges of connections that never came to be.
//!
//! `connect()` can fail after its hook has charged the socket, without any change of state that
//! another hook sees: no route to the backend, no free source port, no memory. A program that keeps
//! such a socket open keeps its charge; and a socket that the kernel opened for itself (MPTCP's
//! subflows, NFS) keeps it for ever, since its release is no business of a cgroup. Every charge
//! says whether its SYN was sent, so that those whose SYN never was can be told: what has not been
//! sent for [`PATIENCE`] failed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::maps::Charges;

/// Time between two passes.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// How long a charge may be seen without a SYN. From the hook to the SYN it is some microseconds,
/// save for a socket that asked for TCP_FASTOPEN_CONNECT and waits with its first write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Remembers which charges had no SYN, and since when.
#[derive(Debug, Default)]
pub struct Sweeper {
    suspects: BTreeMap<u32, (u64, Instant)>,
}

impl Sweeper {
    /// One pass over all charges. Says how many it ended. Time is measured, not the number of
    /// passes: after a stall two of them may follow each other at once.
    pub fn pass(&mut self, maps: &impl Charges, now: Instant) -> usize {
        let before = std::mem::take(&mut self.suspects);
        let mut failed = Vec::new();
        for (index, word) in maps.unsent() {
            let since = match before.get(&index) {
                Some((same, since)) if *same == word => *since,
                _ => now,
            };
            if now.duration_since(since) < PATIENCE {
                self.suspects.insert(index, (word, since));
            } else {
                failed.push((index, word));
            }
        }
        maps.end_unsent(&failed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::maps::Connected;

    struct Fake(RefCell<BTreeMap<u32, u64>>);

    impl Charges for Fake {
        fn unsent(&self) -> Vec<(u32, u64)> {
            self.0.borrow().iter().map(|(index, word)| (*index, *word)).collect()
        }
        fn connected_udp(&self) -> Vec<Connected> {
            Vec::new()
        }
        fn end_charge(&self, index: u32, word: u64) -> bool {
            panic!("{index} {word}: a program may be about to write its record")
        }
        fn end_unsent(&self, ended: &[(u32, u64)]) -> usize {
            let mut charges = self.0.borrow_mut();
            let stands = |(index, word): &&(u32, u64)| charges.get(index) == Some(word);
            let ended: Vec<_> = ended.iter().filter(stands).copied().collect();
            ended.iter().filter(|(index, _)| charges.remove(index).is_some()).count()
        }
    }

    #[test]
    fn only_what_stays_unsent_is_ended() {
        let fake = Fake(RefCell::new(BTreeMap::from([(9, 1), (17, 2)])));
        let mut sweeper = Sweeper::default();
        let start = Instant::now();
        assert_eq!(sweeper.pass(&fake, start), 0, "the first pass only looks");
        assert_eq!(sweeper.pass(&fake, start), 0, "and so does one right after it");
        // One was sent meanwhile; another socket took the place of the second.
        fake.0.borrow_mut().remove(&9);
        fake.0.borrow_mut().insert(17, 3);
        assert_eq!(sweeper.pass(&fake, start + PATIENCE), 0);
        assert_eq!(sweeper.pass(&fake, start + PATIENCE + INTERVAL), 0);
        assert_eq!(sweeper.pass(&fake, start + 2 * PATIENCE), 1);
        assert!(fake.0.borrow().is_empty());
        assert_eq!(sweeper.pass(&fake, start + 3 * PATIENCE), 0);
    }
}
