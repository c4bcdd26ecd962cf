//! Which socket is charged to which backend.
//!
//! One table of 64-bit words, one word a charged socket:
//!
//! ```text
//!   63   62              18 17           0
//! [ used ][ socket cookie  ][ backend     ]      0 = free
//! ```
//!
//! Without `used` a word is a claim: its place is taken and nobody finds it, so that the record beside
//! it can be written by the one who claimed it, before anybody reads it.
//!
//! The table is set-associative. Its buckets are cache lines of [`BUCKET`] words: a header, then
//! words. A cookie has a home bucket; the header of the home counts the charges that found it full
//! and went to one of [`SPILLS`] other buckets. Cookies are given out in order, and four successive
//! ones share a home, so that the sockets opened one after another touch one line, and a socket
//! without a charge is known by that line alone.
//!
//! Behind the table stands its [`KEY`], drawn at random when the table is made. A program can learn
//! the cookies of its sockets (`SO_COOKIE`) and guess those of its neighbours; which of them share a
//! bucket follows from the key alone. So nobody can choose the sockets that take a neighbour's room.
//! Each run of cookies that fills every home once is turned by a number of its own: a burst is spread
//! evenly whatever the key is. Where a cookie spills to is a keyed hash of all of it.
//!
//! No chains, no allocation and no lock: a charge is one compare-and-swap from 0, a discharge one
//! compare-and-swap to 0. Cookies are never reused while the kernel runs, so a word names one
//! charge of one socket for ever; of two processors that end the same charge (a reset arriving
//! while the owner closes) exactly one succeeds, and only that one lowers the counter. That is what
//! makes counting exact.

use crate::siphash::siphash;

/// Words of a bucket, its header included: one cache line.
pub const BUCKET: u32 = 8;
const BUCKET_BITS: u32 = 16;
/// Words of the table.
pub const WORDS: u32 = BUCKET << BUCKET_BITS;
/// Index of the first of [`KEY_WORDS`] words of the key: what the homes are turned by, and the key of
/// the hash that says where to spill.
pub const KEY: u32 = WORDS;
/// Words of the key.
pub const KEY_WORDS: u32 = 3;
/// Words of the table and of the cache line behind it, which holds the key.
pub const ALL_WORDS: u32 = WORDS + BUCKET;
/// Charges that the table holds at most, and entries of the map of records beside it.
pub const MAX_CHARGES: u32 = (BUCKET - 1) << BUCKET_BITS;
/// Buckets that are tried when the home is full. With 3, two bursts of 100,000 sockets whose cookies
/// share their homes left 500 of them without room; with 6, some ten.
pub const SPILLS: u32 = 6;

/// Successive cookies that share a home, as a power of two. Fewer than a bucket has room for: after
/// a burst of long-lived sockets every home still has free words.
const HOME_SHIFT: u32 = 2;
const BACKEND_BITS: u32 = 18;
const BACKEND_MASK: u64 = (1 << BACKEND_BITS) - 1;
/// Set in every word that is a charge, and in no header.
const USED: u64 = 1 << 63;
const _: () = {
    assert!(crate::layout::MAX_BACKENDS <= 1 << BACKEND_BITS);
    assert!(MAX_CHARGES <= 1 << 19, "counters and those of other nodes stay below 2^20");
};

/// The words, as the logic sees them.
pub trait Words {
    /// Reads a word. `index` is below [`WORDS`].
    fn load(&self, index: u32) -> u64;
    /// Reads a word of the key. `which` is below [`KEY_WORDS`].
    fn key(&self, which: u32) -> u64;
    /// Replaces `old` by `new`; false if the word was no longer `old`.
    fn swap(&self, index: u32, old: u64, new: u64) -> bool;
    /// Adds 1 to a header.
    fn increment(&self, index: u32);
    /// Subtracts 1 from a header.
    fn decrement(&self, index: u32);
    /// [`find_spilled`]. Rarely needed: programs keep it out of the way of what always is.
    #[inline(always)]
    fn find_spilled(&self, cookie: u64, but: u32) -> Option<Charge>
    where
        Self: Sized,
    {
        find_spilled(self, cookie, but)
    }
    /// [`insert_spilled`], likewise.
    #[inline(always)]
    fn insert_spilled(&self, word: u64) -> Option<Charge>
    where
        Self: Sized,
    {
        insert_spilled(self, word)
    }
}

/// A charge: its place in the table, and its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Index of the word.
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

    /// Index of the socket's record.
    #[inline(always)]
    pub const fn record(self) -> u32 {
        record_of(self.index)
    }
}

/// Index of the record of the charge at an index: headers have none, and words as many before them
/// as headers.
#[inline(always)]
pub const fn record_of(index: u32) -> u32 {
    index - index / BUCKET - 1
}

/// The word for a socket and a backend. A cookie has 45 bits here: 35 million million sockets
/// since boot, a million a second for a year.
#[inline(always)]
pub const fn word(cookie: u64, backend: u32) -> u64 {
    USED | cookie << BACKEND_BITS | (backend as u64 & BACKEND_MASK)
}

/// The word of a [`claim`].
#[inline(always)]
pub const fn claimed(cookie: u64, backend: u32) -> u64 {
    word(cookie, backend) & !USED
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

/// True for a word that is a charge, false for free words and headers.
#[inline(always)]
pub const fn is_charge(word: u64) -> bool {
    word & USED != 0
}

/// The home of a cookie: index of its header.
#[inline(always)]
const fn home(factor: u64, cookie: u64) -> u32 {
    let run = cookie >> (HOME_SHIFT + BUCKET_BITS);
    let turn = run.wrapping_mul(factor) >> (u64::BITS - BUCKET_BITS);
    bucket((cookie >> HOME_SHIFT) ^ turn)
}

/// The home of a cookie and where it may spill to, with a given key: indices of headers.
pub fn places(key: [u64; KEY_WORDS as usize], cookie: u64) -> [u32; 1 + SPILLS as usize] {
    let (home, hash) = (home(key[0], cookie), siphash(key[1], key[2], cookie));
    let mut places = [home; 1 + SPILLS as usize];
    for (place, which) in places[1..].iter_mut().zip(0..) {
        *place = spill(home, hash, which);
    }
    places
}

/// What [`spill`] is told of a cookie.
#[inline(always)]
fn spill_hash<W: Words>(words: &W, cookie: u64) -> u64 {
    siphash(words.key(1), words.key(2), cookie)
}

/// Where a cookie may spill to, `which` from 0: index of the header. Never its home.
#[inline(always)]
const fn spill(home: u32, hash: u64, which: u32) -> u32 {
    let bucket = bucket(hash >> (SPILL_SHIFT * which));
    if bucket == home { bucket ^ BUCKET } else { bucket }
}

/// Each place to spill to takes its bits of the hash this far above those of the one before.
const SPILL_SHIFT: u32 = (u64::BITS - BUCKET_BITS) / (SPILLS - 1);

/// Index of the header of the bucket that the lowest bits name.
#[inline(always)]
const fn bucket(bits: u64) -> u32 {
    bits as u32 % (WORDS / BUCKET) * BUCKET
}

/// The charge of a socket, if it has one.
#[inline(always)]
pub fn find<W: Words>(words: &W, cookie: u64) -> Option<Charge> {
    find_but(words, cookie, NOWHERE)
}

/// No index: what [`find_but`] leaves out where nothing is to be left out.
const NOWHERE: u32 = u32::MAX;

/// The index that a charge of a socket most likely takes: the first that is free in its home, or else the
/// last. Who will write the record beside it can have the processor fetch that meanwhile.
#[inline(always)]
pub fn likely<W: Words>(words: &W, cookie: u64) -> u32 {
    let home = home(words.key(0), cookie);
    let mut offset = 1;
    while offset < BUCKET - 1 {
        if words.load(home + offset) == 0 {
            break;
        }
        offset += 1;
    }
    home + offset
}

/// A charge of a socket at another index than the given one.
///
/// A socket has a second one only where several processors charge it at the same time: datagrams
/// that threads send over one socket hold no lock. Each looks for another charge after it has made
/// its own, and the first of both sees the second or the second sees the first.
#[inline(always)]
pub fn find_but<W: Words>(words: &W, cookie: u64, but: u32) -> Option<Charge> {
    let home = home(words.key(0), cookie);
    let found = find_in(words, home, cookie, but);
    if found.is_some() || words.load(home) == 0 {
        return found;
    }
    words.find_spilled(cookie, but)
}

/// The charge of a socket that is not in its home.
#[inline(always)]
pub fn find_spilled<W: Words>(words: &W, cookie: u64, but: u32) -> Option<Charge> {
    let (home, hash) = (home(words.key(0), cookie), spill_hash(words, cookie));
    let mut which = 0;
    while which < SPILLS {
        let found = find_in(words, spill(home, hash, which), cookie, but);
        if found.is_some() {
            return found;
        }
        which += 1;
    }
    None
}

#[inline(always)]
fn find_in<W: Words>(words: &W, bucket: u32, cookie: u64, but: u32) -> Option<Charge> {
    let tag = word(cookie, 0) >> BACKEND_BITS;
    let mut offset = 1;
    while offset < BUCKET {
        let word = words.load(bucket + offset);
        if word >> BACKEND_BITS == tag && bucket + offset != but {
            return Some(Charge { index: bucket + offset, word });
        }
        offset += 1;
    }
    None
}

/// Charges a socket that has no charge. `None` when its home and everything it may spill to are
/// full.
///
/// `connect()` holds the socket's lock, so that only one processor charges a given TCP socket. Whoever
/// charges without a lock makes a [`claim`] first and looks for a second charge after it is published
/// ([`find_but`]).
#[inline(always)]
pub fn insert<W: Words>(words: &W, cookie: u64, backend: u32) -> Option<Charge> {
    insert_word(words, cookie, word(cookie, backend))
}

/// Takes a place for the charge of a socket, which nobody finds before it is published. Until then the
/// record is the caller's alone, whatever becomes of other charges of the socket.
#[inline(always)]
pub fn claim<W: Words>(words: &W, cookie: u64, backend: u32) -> Option<Charge> {
    insert_word(words, cookie, claimed(cookie, backend))
}

/// Makes a claim the charge that it is for.
#[inline(always)]
pub fn publish<W: Words>(words: &W, claim: Charge) -> Charge {
    let word = claim.word | USED;
    // Nobody else changes a claim. An atomic, so that the record is written before and another charge
    // looked for afterwards.
    words.swap(claim.index, claim.word, word);
    Charge { word, ..claim }
}

/// Makes a charge a claim again: it is the socket's no more, and its place nobody else's before
/// [`end`]. True for the one caller that did; that one lowers the counter.
pub fn withdraw<W: Words>(words: &W, charge: Charge) -> bool {
    words.swap(charge.index, charge.word, charge.word & !USED)
}

#[inline(always)]
fn insert_word<W: Words>(words: &W, cookie: u64, word: u64) -> Option<Charge> {
    let charge = insert_in(words, home(words.key(0), cookie), word);
    if charge.is_some() { charge } else { words.insert_spilled(word) }
}

/// Puts the word of a socket whose home is full elsewhere.
#[inline(always)]
pub fn insert_spilled<W: Words>(words: &W, word: u64) -> Option<Charge> {
    let cookie = cookie_of(word);
    let (home, hash) = (home(words.key(0), cookie), spill_hash(words, cookie));
    // Told before it is true, so that whoever ends the charge finds it.
    words.increment(home);
    let mut which = 0;
    while which < SPILLS {
        let charge = insert_in(words, spill(home, hash, which), word);
        if charge.is_some() {
            return charge;
        }
        which += 1;
    }
    words.decrement(home);
    None
}

#[inline(always)]
fn insert_in<W: Words>(words: &W, bucket: u32, word: u64) -> Option<Charge> {
    let mut offset = 1;
    while offset < BUCKET {
        let index = bucket + offset;
        if words.load(index) == 0 && words.swap(index, 0, word) {
            return Some(Charge { index, word });
        }
        offset += 1;
    }
    None
}

/// Ends a charge. True for exactly one caller: the one that must lower the counter.
#[inline(always)]
pub fn end<W: Words>(words: &W, charge: Charge) -> bool {
    if !words.swap(charge.index, charge.word, 0) {
        return false;
    }
    let home = home(words.key(0), cookie_of(charge.word));
    if charge.index / BUCKET * BUCKET != home {
        words.decrement(home);
    }
    true
}

#[cfg(test)]
mod tests;
