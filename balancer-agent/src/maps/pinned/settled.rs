//! Charges that need no second look.
//!
//! Once the SYN of a TCP connection was sent, its record holds nothing that a sweep waits for. There
//! may be 100,000 of them, and each record is a line of memory of its own. So a mark for each word of
//! the table says that the record was read when the word was this one. Twice: a charge stands before its
//! record is written, and until then the record is that of the charge before.

use std::{
    iter::repeat_with,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use balancer_common::charge::WORDS;

/// How long a mark counts: one of 32,767 other words has the same one, and a socket that dissolves its
/// association and connects to the same backend again has the same word.
const LASTS: Duration = Duration::from_secs(60);

/// How long a look at the table counts: the steps of a sweep follow each other at once, and one look
/// is enough for all.
const MOMENT: Duration = Duration::from_millis(50);

/// A mark for each word of the table of charges.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// 0 where nothing was seen.
    marks: OnceLock<Box<[AtomicU16]>>,
    since: Mutex<Option<Instant>>,
    looked: Mutex<Option<Look>>,
}

/// A look at the table: when, and what was not settled, by index and word.
type Look = (Instant, Vec<(u32, u64)>);

impl Settled {
    /// Forgets what was seen too long ago.
    pub(super) fn renew(&self, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| now.duration_since(since) < LASTS) {
            return;
        }
        *since = Some(now);
        self.marks().iter().for_each(|mark| mark.store(0, Relaxed));
    }

    /// True if nothing is awaited of the charge with this word.
    pub(super) fn is(&self, index: u32, word: u64) -> bool {
        self.marks()[index as usize].load(Relaxed) == mark(word) | SEEN_TWICE
    }

    /// A look has found that nothing is awaited of it. The second look settles it.
    pub(super) fn set(&self, index: u32, word: u64) {
        let (at, mark) = (&self.marks()[index as usize], mark(word));
        let seen = at.load(Relaxed) & !SEEN_TWICE == mark;
        at.store(if seen { mark | SEEN_TWICE } else { mark }, Relaxed);
    }

    /// What the last look found, if it was a moment ago.
    pub(super) fn recent(&self, now: Instant) -> Option<Vec<(u32, u64)>> {
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = looked.as_ref()?;
        (now.saturating_duration_since(*at) < MOMENT).then(|| found.clone())
    }

    /// Takes what a look found.
    pub(super) fn remember(&self, now: Instant, found: Vec<(u32, u64)>) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, found));
    }

    fn marks(&self) -> &[AtomicU16] {
        self.marks.get_or_init(|| repeat_with(AtomicU16::default).take(WORDS as usize).collect())
    }
}

/// Set in a mark by the second look that found it.
const SEEN_TWICE: u16 = 1;

/// Of all bits of a word, never 0, without [`SEEN_TWICE`].
const fn mark(word: u64) -> u16 {
    let mixed = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16 & !SEEN_TWICE;
    if mixed == 0 { 2 } else { mixed }
}

#[cfg(test)]
mod tests {
    use balancer_common::charge::word;

    use super::*;

    #[test]
    fn a_look_counts_for_a_moment() {
        let settled = Settled::default();
        let start = Instant::now();
        assert_eq!(settled.recent(start), None);
        settled.remember(start, vec![(7, word(1, 2))]);
        assert_eq!(settled.recent(start), Some(vec![(7, word(1, 2))]));
        assert_eq!(settled.recent(start + MOMENT), None);
    }

    #[test]
    fn a_word_is_known_until_another_takes_its_place_and_for_a_minute() {
        let settled = Settled::default();
        let start = Instant::now();
        settled.renew(start);
        assert!(!settled.is(7, word(1, 2)));
        settled.set(7, word(1, 2));
        assert!(!settled.is(7, word(1, 2)), "the record may be that of the charge before");
        settled.set(7, word(3, 2));
        settled.set(7, word(1, 2));
        assert!(!settled.is(7, word(1, 2)), "another had the place meanwhile");
        settled.set(7, word(1, 2));
        settled.renew(start + LASTS / 2);
        assert!(settled.is(7, word(1, 2)) && !settled.is(8, word(1, 2)));
        let same = (2..1002).filter(|cookie| settled.is(7, word(*cookie, 2))).count();
        assert!(same <= 1, "{same} of 1,000 others look the same");
        settled.renew(start + LASTS);
        assert!(!settled.is(7, word(1, 2)));
    }
}
