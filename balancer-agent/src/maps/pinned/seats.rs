//! Seats in the maps of the kernel.

use balancer_common::seat::{self, Seats};

use super::*;
use crate::maps::KeepSeats;

const SEATED: usize = offset_of!(Service, seated);
const WORDS_AT: usize = offset_of!(Service, seats);

/// The seats of a Service port.
struct Words<'a>(&'a PinnedMaps, u32);

impl Seats for Words<'_> {
    fn load(&self, index: usize) -> u32 {
        self.0.services.get32(self.1, WORDS_AT + index * 4)
    }

    fn swap(&self, index: usize, old: u32, new: u32) -> bool {
        self.0.services.swap32(self.1, WORDS_AT + index * 4, old, new)
    }
}

impl KeepSeats for PinnedMaps {
    fn add_seats(&self, service: u32, backend: u32, count: u32) -> bool {
        let added = seat::add(&Words(self, service), backend, count);
        if added {
            self.services.set32(service, SEATED, 1);
        }
        added
    }

    fn take_back_seats(&self, service: u32, backend: u32, count: u32) -> u32 {
        let taken = seat::take_back(&Words(self, service), backend, count);
        if self.seats(service).is_empty() {
            self.services.set32(service, SEATED, 0);
        }
        taken
    }

    fn seats(&self, service: u32) -> BTreeMap<u32, u32> {
        self.seat_words(service).map(|seat| (seat.backend, seat.count)).collect()
    }

    fn forget_all_seats(&self) {
        let seated = (0..self.services.count()).filter(|id| self.services.get32(*id, SEATED) != 0);
        seated.for_each(|service| self.forget_seats(service));
    }
}

impl PinnedMaps {
    /// The words that have seats, in the order in which programs take them.
    pub(super) fn seat_words(&self, service: u32) -> impl Iterator<Item = Seat> {
        let words = (0..SEATS).map(move |index| Seat::unpack(Words(self, service).load(index)));
        words.filter(|seat| seat.count > 0)
    }

    /// Takes back the seats of a Service port.
    pub(super) fn forget_seats(&self, service: u32) {
        self.services.set32(service, SEATED, 0);
        (0..SEATS).for_each(|index| self.services.set32(service, WORDS_AT + index * 4, 0));
    }
}
