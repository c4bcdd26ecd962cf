//! Which socket is charged to which backend.
//!
//! One table of 64-bit words, one word a charged socket:
//!
//! ```text
//!   63   62              18 17           0
//! [ used ][ socket cookie  ][ backend     ]      0 = free
//! ```
//!
//! The table is set-associative: the cookie selects two buckets of [`BUCKET`] words, a cache line
//! each, and a charge goes to the emptier one. No chains, no allocation and no lock: a charge is
//! one compare-and-swap from 0, a discharge one compare-and-swap to 0. Cookies are never reused
//! while the kernel runs, so a word names one charge of one socket for ever; of two processors
//! that end the same charge (a reset arriving while the owner closes) exactly one succeeds, and
//! only that one lowers the counter. That is what makes counting exact.
//!
//! Why not socket storage or a hash map: on kernel 6.18 a fresh socket costs about 600 ns more with
//! the first, and insertion plus removal about 450 ns with the second; the table costs under 100.

/// Words of a bucket: one cache line.
pub const BUCKET: u32 = 8;
const BUCKET_BITS: u32 = 16;
/// Words of the table, and entries of the map of records beside it.
pub const WORDS: u32 = BUCKET << BUCKET_BITS;

const BACKEND_BITS: u32 = 18;
const BACKEND_MASK: u64 = (1 << BACKEND_BITS) - 1;
/// Set in every word that is not free, so that used words are counted by adding their top bits: a
/// comparison would be a branch, and eight branches in a row are 256 ways for the verifier.
const USED: u64 = 1 << 63;
const _: () = assert!(crate::layout::MAX_BACKENDS <= 1 << BACKEND_BITS);

/// The words, as the logic sees them.
pub trait Words {
    /// Reads a word. `index` is below [`WORDS`].
    fn load(&self, index: u32) -> u64;
    /// Replaces `old` by `new`; false if the word was no longer `old`.
    fn swap(&self, index: u32, old: u64, new: u64) -> bool;
}

/// A charge: its place in the table, and its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Index of the word, and of the socket's record.
    pub index: u32,
    /// The word.
    pub word: u64,
}

impl Charge {
    /// The backend that the socket is charged to.
    #[inline(always)]
    pub const fn backend(self) -> u32 {
        backend_of(self.word)
    }
}

/// The word for a socket and a backend. A cookie has 45 bits here: 35 million million sockets
/// since boot, a million a second for a year.
#[inline(always)]
pub const fn word(cookie: u64, backend: u32) -> u64 {
    USED | cookie << BACKEND_BITS | (backend as u64 & BACKEND_MASK)
}

/// The backend in a word.
#[inline(always)]
pub const fn backend_of(word: u64) -> u32 {
    (word & BACKEND_MASK) as u32
}

/// The socket cookie in a word.
#[inline(always)]
pub const fn cookie_of(word: u64) -> u64 {
    (word & !USED) >> BACKEND_BITS
}

/// First words of the two buckets of a cookie.
#[inline(always)]
const fn buckets(cookie: u64) -> [u32; 2] {
    // Fibonacci hashing: neighbouring cookies spread over the whole table.
    let hash = cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let first = (hash >> (64 - BUCKET_BITS)) as u32;
    let second = (hash >> 24) as u32 & ((1 << BUCKET_BITS) - 1);
    [first * BUCKET, second * BUCKET]
}

/// The charge of a socket, if it has one.
#[inline(always)]
pub fn find<W: Words>(words: &W, cookie: u64) -> Option<Charge> {
    let tag = word(cookie, 0) >> BACKEND_BITS;
    let mut which = 0;
    while which < 2 {
        let base = buckets(cookie)[which];
        let mut offset = 0;
        while offset < BUCKET {
            let word = words.load(base + offset);
            if word >> BACKEND_BITS == tag {
                return Some(Charge { index: base + offset, word });
            }
            offset += 1;
        }
        which += 1;
    }
    None
}

/// Charges a socket that has no charge. `None` when both of its buckets are full.
///
/// Only one processor charges a given socket at a time: `connect()` holds the socket's lock.
#[inline(always)]
pub fn insert<W: Words>(words: &W, cookie: u64, backend: u32) -> Option<Charge> {
    let word = word(cookie, backend);
    let [first, second] = buckets(cookie);
    let (near, far) =
        if used(words, second) < used(words, first) { (second, first) } else { (first, second) };
    let mut round = 0;
    while round < 2 {
        let base = if round == 0 { near } else { far };
        let mut offset = 0;
        while offset < BUCKET {
            let index = base + offset;
            if words.load(index) == 0 && words.swap(index, 0, word) {
                return Some(Charge { index, word });
            }
            offset += 1;
        }
        round += 1;
    }
    None
}

/// Ends a charge. True for exactly one caller: the one that must lower the counter.
#[inline(always)]
pub fn end<W: Words>(words: &W, charge: Charge) -> bool {
    words.swap(charge.index, charge.word, 0)
}

/// Used words of a bucket.
#[inline(always)]
fn used<W: Words>(words: &W, base: u32) -> u64 {
    let mut used = 0;
    let mut offset = 0;
    while offset < BUCKET {
        used += words.load(base + offset) >> 63;
        offset += 1;
    }
    used
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::{collections::HashMap, thread, vec::Vec};

    use super::*;

    struct Host(Vec<AtomicU64>);

    impl Host {
        fn new() -> Self {
            Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
        }
        fn used(&self) -> usize {
            self.0.iter().filter(|w| w.load(SeqCst) != 0).count()
        }
    }

    impl Words for Host {
        fn load(&self, index: u32) -> u64 {
            self.0[index as usize].load(SeqCst)
        }
        fn swap(&self, index: u32, old: u64, new: u64) -> bool {
            self.0[index as usize].compare_exchange(old, new, SeqCst, SeqCst).is_ok()
        }
    }

    #[test]
    fn a_charge_is_found_until_it_is_ended_once() {
        let host = Host::new();
        assert_eq!(find(&host, 42), None);
        let charge = insert(&host, 42, 7).expect("empty table");
        assert_eq!(find(&host, 42), Some(charge));
        assert_eq!(charge.backend(), 7);
        assert_eq!(cookie_of(charge.word), 42);
        assert!(end(&host, charge));
        assert!(!end(&host, charge), "a second end must not lower the counter again");
        assert_eq!(find(&host, 42), None);
    }

    #[test]
    fn an_old_charge_never_ends_the_next_one_in_its_place() {
        let host = Host::new();
        let old = insert(&host, 42, 7).expect("empty table");
        assert!(end(&host, old));
        // The same socket connects again: same bucket, same word index, another backend.
        let new = insert(&host, 42, 8).expect("empty table");
        assert_eq!(new.index, old.index);
        assert!(!end(&host, old));
        assert_eq!(find(&host, 42), Some(new));
    }

    /// 200,000 sockets fit without one refusal; the first refusal comes far later.
    #[test]
    fn the_table_holds_what_it_promises() {
        let host = Host::new();
        for cookie in 1..=300_000u64 {
            assert!(insert(&host, cookie, 1).is_some(), "refused at {cookie}");
        }
        assert_eq!(host.used(), 300_000);
        for cookie in 1..=300_000u64 {
            let charge = find(&host, cookie).expect("charged above");
            assert!(end(&host, charge));
        }
        assert_eq!(host.used(), 0);
    }

    #[test]
    fn full_buckets_refuse_and_lose_nothing() {
        let host = Host::new();
        let mut charged = HashMap::new();
        let mut refused = 0;
        for cookie in 1..=u64::from(WORDS) {
            match insert(&host, cookie, 3) {
                Some(charge) => assert!(charged.insert(cookie, charge).is_none()),
                None => refused += 1,
            }
        }
        assert!(refused > 0, "a table filled to the last word must refuse somebody");
        for (cookie, charge) in charged {
            assert_eq!(find(&host, cookie), Some(charge));
        }
    }

    #[test]
    fn racing_ends_lower_once() {
        let host = Host::new();
        for cookie in 1..2000u64 {
            let charge = insert(&host, cookie, 5).expect("room");
            let ended: u32 = thread::scope(|scope| {
                let racers: Vec<_> =
                    (0..2).map(|_| scope.spawn(|| u32::from(end(&host, charge)))).collect();
                racers.into_iter().map(|r| r.join().expect("no panic")).sum()
            });
            assert_eq!(ended, 1);
        }
    }
}
