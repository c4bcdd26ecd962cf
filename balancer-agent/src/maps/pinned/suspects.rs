//! Backends that have just failed, where the agent has to write them.

use super::*;

/// Where the words of a backend stand that say whether it is suspect.
const UNTIL: usize = offset_of!(Backend, suspect_until);

impl PinnedMaps {
    /// Backends that are suspect. Where there is none, that is one load.
    pub fn suspects(&self) -> BTreeSet<u32> {
        if self.control.get32(offset_of!(Control, suspects)) == 0 {
            return BTreeSet::new();
        }
        (1..self.limits.backends).filter(|id| self.is_suspect(*id)).collect()
    }

    /// Ends that a backend is suspect, as a connection that is established does.
    pub(super) fn forgive(&self, backend: u32) {
        let held = self.backends.get64(backend, UNTIL);
        if held != 0 && self.backends.swap64(backend, UNTIL, held, 0) {
            self.control.add32(offset_of!(Control, suspects), u32::MAX);
            self.active.add32(backend, ACTIVE, SUSPECT.wrapping_neg());
        }
    }

    /// Makes the bits of counters and the number of suspects agree with what backends say of
    /// themselves: an agent that was killed, or made the maps larger, may have left them apart.
    /// `grace` waits until no program runs that is between two of these steps.
    pub(crate) fn settle_suspects(&self, grace: impl FnOnce()) {
        let apart = |id: &u32| self.is_suspect(*id) != (self.backends.get64(*id, UNTIL) != 0);
        let apart_before: Vec<u32> = (1..self.limits.backends).filter(apart).collect();
        if !apart_before.is_empty() {
            grace();
        }
        for id in apart_before.into_iter().filter(apart) {
            let bit = if self.is_suspect(id) { SUSPECT.wrapping_neg() } else { SUSPECT };
            self.active.add32(id, ACTIVE, bit);
        }
        // A program that counts meanwhile changes the word: then it is counted again.
        let at = offset_of!(Control, suspects);
        for _ in 0..100 {
            let before = self.control.get32(at);
            let suspects = (1..self.limits.backends).filter(|id| self.is_suspect(*id)).count();
            if self.control.swap32(at, before, suspects as u32) {
                return;
            }
        }
    }
}
