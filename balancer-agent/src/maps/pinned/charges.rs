//! The charges of sockets, for those that no program ends.

use std::time::Instant;

use balancer_common::{
    charge::{KEY, KEY_WORDS},
    layout::ENDING,
};
use rand::Rng as _;

use super::*;

/// The words of the table of charges.
struct ChargeWords<'a>(&'a Slab);

impl charge::Words for ChargeWords<'_> {
    fn load(&self, index: u32) -> u64 {
        self.0.get64(index as usize * 8)
    }

    fn key(&self, which: u32) -> u64 {
        self.0.get64((KEY + which) as usize * 8)
    }

    fn swap(&self, index: u32, old: u64, new: u64) -> bool {
        self.0.swap64(index as usize * 8, old, new)
    }

    fn increment(&self, index: u32) {
        self.0.add64(index as usize * 8, 1);
    }

    fn decrement(&self, index: u32) {
        self.0.add64(index as usize * 8, u64::MAX);
    }
}

impl PinnedMaps {
    /// Draws the key of a table that was just made. One that programs use keeps its key.
    pub(crate) fn draw_key(&self) {
        for which in 0..KEY_WORDS {
            let word = rand::rng().random_range(1..=u64::MAX);
            self.charges.swap64((KEY + which) as usize * 8, 0, word);
        }
    }

    /// Every charge: index and word.
    pub(super) fn standing(&self) -> impl Iterator<Item = (u32, u64)> {
        let words = (0..).zip(self.charges.words(WORDS as usize));
        words.filter(|(_, word)| charge::is_charge(*word))
    }

    /// Those whose record may say something new, as they stand or stood a moment ago.
    fn unsettled(&self) -> Vec<(u32, u64)> {
        let now = Instant::now();
        self.settled.renew(now);
        self.settled.recent(now).unwrap_or_else(|| {
            let is_new = |(index, word): &(u32, u64)| !self.settled.is(*index, *word);
            let found: Vec<_> = self.standing().filter(is_new).collect();
            self.settled.remember(now, found.clone());
            found
        })
    }

    /// Those of connected UDP sockets: of TCP a record names the process.
    fn udp(&self) -> impl Iterator<Item = Connected> {
        let connected = move |index: u32| {
            self.record_state(index) == RecordState::Connected as u16 && self.tgid(index) == 0
        };
        let netns = |index| self.records.get64(charge::record_of(index), offset_of!(Record, netns));
        self.unsettled()
            .into_iter()
            .filter(move |(index, _)| connected(*index))
            .map(move |(index, word)| {
                let service = self.record_service(index);
                Connected { netns: netns(index), index, word, service }
            })
            // Another charge may have taken the place meanwhile.
            .filter(|found| found.netns != 0 && self.charge(found.index) == found.word)
    }

    fn tgid(&self, index: u32) -> u32 {
        self.records.get32(charge::record_of(index), offset_of!(Record, tgid))
    }

    /// [`Record::state`], which shares its word with `port` and is read with it: there are no 2-byte
    /// accesses.
    fn record_state(&self, index: u32) -> u16 {
        let word = self.records.get32(charge::record_of(index), offset_of!(Record, port));
        let [_, _, low, high] = word.to_ne_bytes();
        u16::from_ne_bytes([low, high])
    }
}

impl Charges for PinnedMaps {
    fn unsent(&self) -> Vec<(u32, u64)> {
        let waits = |index: u32, word: u64| {
            let state = self.record_state(index);
            let is_sent = state == RecordState::Connected as u16 && self.tgid(index) != 0;
            if is_sent && self.charge(index) == word {
                self.settled.set(index, word);
            }
            state == RecordState::Waiting as u16
        };
        let mut found = self.unsettled();
        found.retain(|(index, word)| waits(*index, *word));
        found
    }

    fn connected_udp(&self) -> Vec<Connected> {
        self.udp().collect()
    }

    fn end_charge(&self, index: u32, word: u64) -> bool {
        let ended = charge::end(&ChargeWords(&self.charges), Charge { index, word });
        if ended {
            self.active.add32(charge::backend_of(word), ACTIVE, u32::MAX);
        }
        ended
    }

    fn end_unsent(&self, charges: &[(u32, u64)]) -> usize {
        let words = ChargeWords(&self.charges);
        let charge = |(index, word): &(u32, u64)| Charge { index: *index, word: *word };
        let all = charges.iter().map(charge);
        let ended: Vec<_> = all.filter(|charge| charge::withdraw(&words, *charge)).collect();
        for charge in &ended {
            self.active.add32(charge.backend(), ACTIVE, u32::MAX);
        }
        if !ended.is_empty() {
            // `tcp` may write the record of one that it has found. An agent that is killed here leaves
            // a place in the table that nobody has any more.
            crate::maps::rcu::synchronize();
        }
        for Charge { index, word } in &ended {
            let word = charge::claimed(charge::cookie_of(*word), charge::backend_of(*word));
            charge::end(&words, Charge { index: *index, word });
        }
        ended.len()
    }
}

impl OutsideCharges for PinnedMaps {
    fn outside(&self) -> Result<Vec<(OutsideKey, OutsideFlow)>, MapsError> {
        self.outside.all(|key, flow| (transmute!(key), transmute!(flow)))
    }

    fn read_outside(
        &self,
        from: Option<u32>,
        found: &mut Vec<(OutsideKey, OutsideFlow)>,
    ) -> Result<Option<u32>, MapsError> {
        self.outside.read(from, found, |key, flow| (transmute!(key), transmute!(flow)))
    }

    fn end_outside(&mut self, key: &OutsideKey, flow: &OutsideFlow) -> Result<bool, MapsError> {
        let bytes: FlowKey = transmute!(*key);
        let now: Option<OutsideFlow> = self.outside.get(&bytes)?.map(|flow| transmute!(flow));
        if now != Some(*flow) {
            return Ok(false);
        }
        let Some(taken) = self.outside.take(&bytes)? else { return Ok(false) };
        let taken_flow: OutsideFlow = transmute!(taken);
        let is_it = taken_flow.since == flow.since && taken_flow.sequence == flow.sequence;
        // One that has begun meanwhile goes on, unless yet another one has. One that a program is ending
        // does not: that finds nothing to remove, and no other would ever remove it.
        let goes_on = !is_it && taken_flow.ended & ENDING == 0;
        let put_back = if goes_on { self.outside.add(bytes, taken) } else { Ok(false) };
        if matches!(put_back, Ok(true)) {
            return Ok(false);
        }
        // Its entry is gone, also where it could not be put back: nobody else lowers the counter.
        self.active.add32(taken_flow.backend, ACTIVE, u32::MAX);
        put_back.map(|_| is_it)
    }

    fn monotonic_ns(&self) -> u64 {
        clock::now().as_nanos() as u64
    }
}

const _: () = assert!(offset_of!(Record, state) == offset_of!(Record, port) + 2);
