//! Backends that have just failed.
//!
//! A backend that refuses has the fewest connections, so that the smallest counter would send it
//! every one. A connection that is refused, reset or unanswered before it is established makes its
//! backend *suspect*: it gets no connection while another backend of the row is not suspect. After a
//! pause, which doubles with each failure in a row, one connection at a time tries it, and one that is
//! established ends it.
//!
//! # Why the scan costs nothing
//!
//! While a backend is suspect its counter carries [`SUSPECT`], a bit above every count. The scan, which
//! looks for the smallest counter, passes it over by itself; where all backends of a row are suspect
//! the bit is in all of their counters, and the one with the fewest connections wins as if there were
//! none. Reservation compares and swaps the word with its bit. Only where some backend of the node is
//! suspect (a number that programs read with what they read anyway) is there a look for one whose
//! pause is over.
//!
//! # Exactly once each way
//!
//! [`Judged::swap_until`] decides who makes a backend suspect and who ends it. The one that does sets
//! or takes the bit by adding and subtracting, which commute: between the two steps of one processor
//! the other's may come first, the bits of the count are right at every moment, and the word is right
//! in the end.

/// Set in the counter of a suspect backend. Counts stay below it (`charge::MAX_CHARGES`).
pub const SUSPECT: u32 = 1 << 30;

/// Connections in a word of the counters.
#[inline(always)]
pub const fn count(word: u32) -> u32 {
    word & (SUSPECT - 1)
}

/// True for the word of a suspect backend. Padding ([`crate::layout::PAD_ACTIVE`]) is one, too.
#[inline(always)]
pub const fn is_suspect(word: u32) -> bool {
    word & SUSPECT != 0
}

/// The pause after a first failure, in nanoseconds.
const FIRST_NS: u64 = 250_000_000;
/// The longest pause, in nanoseconds.
const MOST_NS: u64 = 30_000_000_000;
/// How long a connection that tries a backend has for itself, in nanoseconds: longer than the second
/// after which the kernel sends its SYN again, which is a failure.
const TRIAL_NS: u64 = 1_500_000_000;

/// The pause after so many failures in a row, at least one, in nanoseconds.
#[inline(always)]
pub const fn pause_ns(failures: u32) -> u64 {
    // 250 ms times 2 to the power of 7 is more than the longest.
    let doublings = if failures > 7 { 7 } else { failures.saturating_sub(1) };
    let pause = FIRST_NS << doublings;
    if pause > MOST_NS { MOST_NS } else { pause }
}

/// What is known of a backend. Times are CLOCK_MONOTONIC in nanoseconds.
pub trait Judged {
    /// When it may be tried; 0 where it is not suspect.
    fn until(&self) -> u64;
    /// Replaces [`Judged::until`]; false if it was no longer `old`.
    fn swap_until(&self, old: u64, new: u64) -> bool;
    /// When its last failure was counted.
    fn since(&self) -> u64;
    /// Failures in a row.
    fn failures(&self) -> u32;
    /// Notes a failure: when, and how many in a row it makes.
    fn note(&self, since: u64, failures: u32);
    /// Sets its bit and counts it among those that are suspect.
    fn begin(&self);
    /// Takes both back.
    fn end(&self);
}

/// A connection whose SYN was sent at `sent` has failed.
#[inline(always)]
pub fn failed<J: Judged>(backend: &J, sent: u64, now: u64) {
    let until = backend.until();
    // Of many that fail at once only the first counts: the others were on their way when it did.
    if until != 0 && sent <= backend.since() {
        return;
    }
    let failures = if until == 0 { 1 } else { backend.failures().saturating_add(1) };
    if !backend.swap_until(until, now + pause_ns(failures)) {
        return;
    }
    backend.note(now, failures);
    if until == 0 {
        backend.begin();
    }
}

/// A connection was established: the backend is suspect no more. True for the one caller that ended
/// it.
#[inline(always)]
pub fn established<J: Judged>(backend: &J) -> bool {
    let until = backend.until();
    if until == 0 || !backend.swap_until(until, 0) {
        return false;
    }
    backend.end();
    true
}

/// True for the one caller whose connection is to try a backend whose pause is over. Where nothing
/// comes of it, the next may try after as long again.
#[inline(always)]
pub fn may_try<J: Judged>(backend: &J, now: u64) -> bool {
    let until = backend.until();
    if until == 0 || until > now {
        return false;
    }
    let pause = pause_ns(backend.failures());
    let pause = if pause < TRIAL_NS { TRIAL_NS } else { pause };
    backend.swap_until(until, now + pause)
}

/// In which moment of 17 ms a time is, in nanoseconds. A row in which no backend was due is not looked
/// through again in the same moment: on a busy node that would cost each connection more than its choice.
/// Moments repeat after two years.
#[inline(always)]
pub const fn moment(now: u64) -> u32 {
    (now >> 24) as u32
}

/// How many of its pauses a backend may be left untried.
const NEGLECTED_PAUSES: u64 = 240;
/// How long at most, in nanoseconds.
const NEGLECTED_MOST_NS: u64 = 600_000_000_000;

/// True for a suspect backend that could have been tried for long and was not: its Service opens no
/// connections of itself. Then one is worth moving there.
pub const fn is_neglected(until: u64, failures: u32, now: u64) -> bool {
    let wait = NEGLECTED_PAUSES * pause_ns(failures);
    let wait = if wait > NEGLECTED_MOST_NS { NEGLECTED_MOST_NS } else { wait };
    until != 0 && now.saturating_sub(until) >= wait
}

/// How a connection ended that was not established and whose SYN was not sent again.
#[derive(Clone, Copy, Debug)]
pub struct Unestablished {
    /// Segments that were sent.
    pub sent: u32,
    /// Segments that were received.
    pub received: u32,
    /// Nanoseconds since the SYN.
    pub age: u64,
}

/// How soon an error that is no segment (ICMP) comes, in nanoseconds.
const ERROR_WITHIN_NS: u64 = 100_000_000;

impl Unestablished {
    /// True if its backend, or the way there, ended it: by a segment, or by an error, which comes as
    /// soon as an answer would. What was never sent failed on this node. What ends later without an
    /// answer was ended here, by `shutdown()`, `connect()` with AF_UNSPEC or SOCK_DESTROY.
    #[inline(always)]
    pub const fn is_failure(self) -> bool {
        self.sent != 0 && (self.received != 0 || self.age < ERROR_WITHIN_NS)
    }
}

const _: () = assert!(crate::charge::MAX_CHARGES < SUSPECT);

#[cfg(test)]
mod tests {
    extern crate std;

    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
    use std::thread;

    use super::*;
    use crate::layout::PAD_ACTIVE;

    #[derive(Default)]
    struct Host {
        until: AtomicU64,
        since: AtomicU64,
        failures: AtomicU32,
        counter: AtomicU32,
        suspects: AtomicU32,
    }

    impl Judged for Host {
        fn until(&self) -> u64 {
            self.until.load(SeqCst)
        }
        fn swap_until(&self, old: u64, new: u64) -> bool {
            self.until.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
        }
        fn since(&self) -> u64 {
            self.since.load(SeqCst)
        }
        fn failures(&self) -> u32 {
            self.failures.load(SeqCst)
        }
        fn note(&self, since: u64, failures: u32) {
            self.since.store(since, SeqCst);
            self.failures.store(failures, SeqCst);
        }
        fn begin(&self) {
            self.suspects.fetch_add(1, SeqCst);
            self.counter.fetch_add(SUSPECT, SeqCst);
        }
        fn end(&self) {
            self.suspects.fetch_sub(1, SeqCst);
            self.counter.fetch_sub(SUSPECT, SeqCst);
        }
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn only_the_backend_and_the_way_there_are_blamed() {
        let failure = |sent, received, age| Unestablished { sent, received, age }.is_failure();
        assert!(failure(1, 1, SECOND / 2), "a reset, however late");
        assert!(failure(1, 0, SECOND / 1000), "an error");
        assert!(!failure(0, 0, 0), "no route, no memory: nothing was sent");
        assert!(!failure(1, 0, SECOND / 2), "its program gave up");
    }

    #[test]
    fn the_pause_doubles_up_to_half_a_minute() {
        let ms = |failures| pause_ns(failures) / 1_000_000;
        assert_eq!(
            [1, 2, 3, 7, 8, 9, u32::MAX].map(ms),
            [250, 500, 1000, 16_000, 30_000, 30_000, 30_000]
        );
    }

    #[test]
    fn who_is_not_tried_is_neglected_after_a_minute_that_doubles_up_to_ten() {
        let after = |failures, seconds: u64| is_neglected(SECOND, failures, (1 + seconds) * SECOND);
        for (failures, seconds) in [(1, 60), (2, 120), (3, 240), (4, 480), (5, 600), (99, 600)] {
            assert!(!after(failures, seconds - 1), "{failures}");
            assert!(after(failures, seconds), "{failures}");
        }
        assert!(!is_neglected(0, 1, 1_000 * SECOND), "it is not suspect");
        assert!(!is_neglected(9 * SECOND, 1, SECOND), "its pause is not over");
    }

    #[test]
    fn a_failure_makes_suspect_and_an_established_connection_ends_it() {
        let host = Host::default();
        host.counter.store(3, SeqCst);
        assert!(!established(&host), "it was not suspect");
        failed(&host, SECOND, SECOND + 1);
        let word = host.counter.load(SeqCst);
        assert!(is_suspect(word) && word < PAD_ACTIVE);
        assert_eq!((count(word), host.suspects.load(SeqCst)), (3, 1));
        assert!(established(&host));
        assert_eq!((host.counter.load(SeqCst), host.suspects.load(SeqCst)), (3, 0));
        // The next failure is a first one again.
        failed(&host, 9 * SECOND, 10 * SECOND);
        assert_eq!(host.until() - 10 * SECOND, pause_ns(1));
    }

    #[test]
    fn connections_that_were_on_their_way_are_one_failure() {
        let host = Host::default();
        for sent in 1..=50 {
            failed(&host, SECOND + sent, 2 * SECOND + sent);
        }
        assert_eq!(host.failures(), 1);
        assert_eq!(host.suspects.load(SeqCst), 1);
        failed(&host, 3 * SECOND, 3 * SECOND + 1);
        assert_eq!(host.failures(), 2);
        assert_eq!(host.until() - (3 * SECOND + 1), pause_ns(2));
        assert_eq!(host.suspects.load(SeqCst), 1);
    }

    #[test]
    fn one_at_a_time_tries_it_and_only_after_the_pause() {
        let host = Host::default();
        assert!(!may_try(&host, SECOND), "it is not suspect");
        failed(&host, 0, SECOND);
        let due = host.until();
        assert!(!may_try(&host, due - 1));
        assert!(may_try(&host, due));
        assert!(!may_try(&host, due), "somebody tries it");
        // Nothing came of it: its socket was closed.
        assert!(!may_try(&host, due + TRIAL_NS - 1));
        assert!(may_try(&host, due + TRIAL_NS));
        failed(&host, due + TRIAL_NS, due + TRIAL_NS + 1);
        assert_eq!(host.failures(), 2);
    }

    /// Whatever comes together, the bit and the number of suspects agree in the end.
    #[test]
    fn racing_failures_and_ends_leave_it_right() {
        for round in 0..2_000u64 {
            let host = Host::default();
            host.counter.store(7, SeqCst);
            thread::scope(|scope| {
                let host = &host;
                for turn in 0..2 {
                    scope.spawn(move || failed(host, SECOND + turn, 2 * SECOND + turn));
                    scope.spawn(move || established(host));
                }
            });
            let word = host.counter.load(SeqCst);
            let expected = u32::from(host.until() != 0);
            assert_eq!(host.suspects.load(SeqCst), expected, "{round}");
            assert_eq!(word, 7 + SUSPECT * expected, "{round}");
        }
    }
}
