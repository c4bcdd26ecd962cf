//! Ends the charges of connections that never came to be.
//!
//! `connect()` can fail after its hook has charged the socket, without any change of state that
//! another hook sees: no route to the backend, no free source port, no memory. A program that keeps
//! such a socket open keeps its charge; and a socket that the kernel opened for itself (MPTCP's
//! subflows, NFS) keeps it for ever, since its release is no business of a cgroup. Every charge says
//! whether its SYN was sent, so that those whose SYN never was can be told: what has not been sent
//! after [`PATIENCE`] failed.

use std::{collections::BTreeMap, time::Duration};

use crate::maps::Charges;

/// Time between two passes: a charge that two of them find without a SYN is ended. From the hook to
/// the SYN it is some microseconds, save for a socket that asked for TCP_FASTOPEN_CONNECT and waits
/// with its first write.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Remembers what the last pass found.
#[derive(Debug, Default)]
pub struct Sweeper {
    suspects: BTreeMap<u32, u64>,
}

impl Sweeper {
    /// One pass over all charges. Says how many it ended.
    pub fn pass(&mut self, maps: &impl Charges) -> usize {
        let before = std::mem::take(&mut self.suspects);
        let mut ended = 0;
        for (index, word) in maps.unsent() {
            if before.get(&index) != Some(&word) {
                self.suspects.insert(index, word);
            } else if maps.end_charge(index, word) {
                ended += 1;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Fake(RefCell<BTreeMap<u32, u64>>);

    impl Charges for Fake {
        fn unsent(&self) -> Vec<(u32, u64)> {
            self.0.borrow().iter().map(|(index, word)| (*index, *word)).collect()
        }
        fn end_charge(&self, index: u32, word: u64) -> bool {
            let mut charges = self.0.borrow_mut();
            let stands = charges.get(&index) == Some(&word);
            stands && charges.remove(&index).is_some()
        }
    }

    #[test]
    fn only_what_two_passes_find_is_ended() {
        let fake = Fake(RefCell::new(BTreeMap::from([(9, 1), (17, 2)])));
        let mut sweeper = Sweeper::default();
        assert_eq!(sweeper.pass(&fake), 0, "the first pass only looks");
        // One was sent meanwhile; another socket took the place of the second.
        fake.0.borrow_mut().remove(&9);
        fake.0.borrow_mut().insert(17, 3);
        assert_eq!(sweeper.pass(&fake), 0);
        assert_eq!(sweeper.pass(&fake), 1);
        assert!(fake.0.borrow().is_empty());
        assert_eq!(sweeper.pass(&fake), 0);
    }
}
