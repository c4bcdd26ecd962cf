//! Takes a seat: the backend at which a place is kept for the next connection of a Service port.
//!
//! A connection that is ended for the sake of balance leaves a seat at the backend that it should come
//! back to. Whichever connection of the node to the Service port comes next takes it: the counts are the
//! same whose it is. The agent adds seats, programs and the agent take them, each by compare-and-swap.

use crate::layout::{PAD_BACKEND, SEATS, Seat};

/// The words of the seats of a Service port.
pub trait Seats {
    /// Reads a word.
    fn load(&self, index: usize) -> u32;
    /// Replaces a word; false if it was no longer `old`.
    fn swap(&self, index: usize, old: u32, new: u32) -> bool;
}

/// How often each word is looked at: another processor may take from it at the same moment.
const ROUNDS: usize = 2;

/// Takes one seat and gives its backend; [`PAD_BACKEND`] where there is none.
#[inline(always)]
pub fn take(seats: &impl Seats) -> u32 {
    let mut turn = 0;
    while turn < ROUNDS * SEATS {
        let index = turn % SEATS;
        let word = seats.load(index);
        let Seat { backend, count } = Seat::unpack(word);
        if count > 0 && seats.swap(index, word, Seat { backend, count: count - 1 }.pack()) {
            return backend;
        }
        turn += 1;
    }
    PAD_BACKEND
}

/// Adds seats at a backend; false where there is no room. For one caller at a time.
pub fn add(seats: &impl Seats, backend: u32, count: u32) -> bool {
    // A program that takes one changes a word: then it is looked at anew.
    loop {
        let found = |wanted: u32| {
            (0..SEATS).find_map(|index| {
                let word = seats.load(index);
                let seat = Seat::unpack(word);
                (seat.backend == wanted).then_some((index, word, seat.count))
            })
        };
        let Some((index, word, before)) = found(backend).or_else(|| found(PAD_BACKEND)) else {
            return false;
        };
        let count = before + count;
        if count > Seat::MOST {
            return false;
        }
        if seats.swap(index, word, Seat { backend, count }.pack()) {
            return true;
        }
    }
}

/// Takes back seats at a backend, and says how many were there still.
pub fn take_back(seats: &impl Seats, backend: u32, count: u32) -> u32 {
    loop {
        let mut words = (0..SEATS).map(|index| (index, seats.load(index)));
        let Some((index, word)) = words.find(|(_, word)| Seat::unpack(*word).backend == backend)
        else {
            return 0;
        };
        let held = Seat::unpack(word).count;
        let taken = held.min(count);
        if seats.swap(index, word, Seat { backend, count: held - taken }.pack()) {
            return taken;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::{thread, vec::Vec};

    use super::*;

    #[derive(Default)]
    struct Words([AtomicU32; SEATS]);

    impl Seats for Words {
        fn load(&self, index: usize) -> u32 {
            self.0[index].load(SeqCst)
        }
        fn swap(&self, index: usize, old: u32, new: u32) -> bool {
            self.0[index].compare_exchange(old, new, SeqCst, SeqCst).is_ok()
        }
    }

    #[test]
    fn each_seat_is_taken_once() {
        let words = Words::default();
        assert_eq!(take(&words), PAD_BACKEND);
        assert!(add(&words, 5, 1) && add(&words, 6, 1) && add(&words, 5, 1));
        let mut taken: Vec<_> = (0..4).map(|_| take(&words)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [PAD_BACKEND, 5, 5, 6]);
    }

    #[test]
    fn there_is_room_for_so_many_backends() {
        let words = Words::default();
        let (last, another) = (SEATS as u32, SEATS as u32 + 1);
        assert!((1..=last).all(|backend| add(&words, backend, 1)));
        assert!(!add(&words, another, 1), "no room");
        assert!(add(&words, last, 2) && !add(&words, last, Seat::MOST));
        assert_eq!([take_back(&words, last, 2), take_back(&words, last, 2)], [2, 1]);
        assert_eq!(take_back(&words, another, 1), 0);
        assert!(add(&words, another, 1));
    }

    #[test]
    fn processors_that_take_at_once_take_different_ones() {
        let words = Words::default();
        assert!(add(&words, 1, 4_000) && add(&words, 2, 4_000));
        let taken = thread::scope(|scope| {
            let work = || (0..2_000).filter(|_| take(&words) != PAD_BACKEND).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        let left = [1, 2].map(|backend| take_back(&words, backend, Seat::MOST) as usize);
        assert_eq!(taken + left[0] + left[1], 8_000);
    }
}
