//! When something is said, and until when it counts.

use std::time::Duration;

use balancer_common::layout::FRESH_NS;

use super::Moment;

/// Least time between two reports of one Service port, and between two totals of it. What changes
/// is said at once where that much time has passed. Half of it is the mean age that it adds.
pub const GAP: Duration = Duration::from_millis(250);
/// How often an agent looks at its counters, and at what is due.
pub const LOOK: Duration = Duration::from_millis(25);
/// Time between two heartbeats to one peer, which repeat everything.
pub const BEAT: Duration = Duration::from_secs(1);
/// Heartbeats within which a peer must be heard to take part: two may be lost.
const HEARD: u32 = 3;
/// Time between two heartbeats at most, however many peers there are: what is repeated by them
/// counts for [`FRESH`].
const SLOWEST: Duration = Duration::from_secs(2);
/// Rounds after which a backend that was not named any more has no connection.
pub const ROUNDS: u8 = 5;
/// What a silent node had counts for so long: its connections are most likely there still.
pub const SILENT: Duration = Duration::from_secs(10);
/// What this node was told counts for so long; the programs compare, too.
pub const FRESH: Duration = Duration::from_nanos(FRESH_NS);
/// How long what left a row counts as about to come back.
pub const LEFT: Duration = Duration::from_secs(30);
/// How long a node that has no connection to a Service any more counts as a user of it.
pub const USED: Duration = Duration::from_secs(600);
/// Least time between two levels of one row that follow from this node's own connections.
pub const LEVEL: Duration = Duration::from_millis(100);
/// Peers up to which each hears of a change at once, whether it dials the Service or not.
pub const FEW: usize = 32;
/// Peers above which heartbeats are slower: up to twice as many get no more a second.
pub const MANY: usize = 500;
/// Bytes a second at which one node repeats the totals of one Service port at most.
pub const REPEATED: usize = 256 * 1024;

/// From when on something may be said again that was said at a time. What is due between two looks is said at
/// the nearer one: at the later one each word would come later than the one before.
pub fn again(said: Moment) -> Moment {
    said + (GAP - LOOK / 2)
}

/// Time between two heartbeats to one peer where there are so many.
pub fn beat(peers: usize) -> Duration {
    BEAT.saturating_mul(u32::try_from(peers.div_ceil(MANY).max(1)).unwrap_or(u32::MAX)).min(SLOWEST)
}

/// How long ago one of so many peers may have been heard that takes part.
pub fn heard(peers: usize) -> Duration {
    beat(peers) * HEARD
}

/// How long a backend is named whose last connection has ended, where everything is repeated at
/// every `every`th heartbeat: as long as who has heard nothing of that takes it to have some.
pub fn named(peers: usize, every: u32) -> Duration {
    beat(peers).saturating_mul(every).saturating_mul(u32::from(ROUNDS) + 1)
}

/// How long a node waits before it speaks as the steward of a Service port: until every peer has
/// had the time to notice, and to repeat all that it has.
pub fn settled(peers: usize) -> Duration {
    beat(peers) + GAP
}

/// At every which heartbeat totals of so many bytes are repeated in full to so many peers.
pub fn repeat(bytes: usize, peers: usize) -> u32 {
    let rate = (bytes * peers) as u64 * 1_000 / beat(peers).as_millis().max(1) as u64;
    u32::try_from(rate.div_ceil(REPEATED as u64).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_peers_are_sent_no_more_heartbeats_than_five_hundred() {
        for (peers, seconds) in [(0, 1), (1, 1), (500, 1), (501, 2), (1_000, 2), (5_000, 2)] {
            assert_eq!(beat(peers), Duration::from_secs(seconds), "{peers} peers");
        }
        assert_eq!(beat(usize::MAX), SLOWEST);
    }

    /// A timer is some tenths of a millisecond late, or early after one that was.
    #[test]
    fn words_at_looks_come_as_often_as_they_may() {
        for first in (0..25_000).step_by(50) {
            let mut said = Duration::from_micros(first);
            for word in 1..=8 {
                let late = |look: u32| Duration::from_micros(u64::from(look * 7 + word) % 10 * 100);
                let mut looks = (1..).map(|look| LOOK * look + late(look));
                said = looks.find(|look| *look >= again(said)).unwrap();
                let due = Duration::from_micros(first) + GAP * word;
                assert!(
                    said < due + LOOK / 2 + Duration::from_millis(2),
                    "{first} {word} {said:?}"
                );
                assert!(
                    said + LOOK / 2 + Duration::from_millis(2) > due,
                    "{first} {word} {said:?}"
                );
            }
        }
    }

    #[test]
    fn two_heartbeats_may_be_lost_however_many_peers_there_are() {
        for peers in [1, 500, 501, 2_000, 5_000] {
            assert!(heard(peers) >= 3 * beat(peers), "{peers} peers");
            assert!(beat(peers) < FRESH && heard(peers) < SILENT, "{peers} peers");
        }
    }

    #[test]
    fn ends_are_named_until_silence_says_the_same() {
        for (peers, every) in [(1, 1), (600, 1), (500, 20)] {
            assert!(named(peers, every) > beat(peers) * every * u32::from(ROUNDS));
        }
        assert!(named(usize::MAX, u32::MAX) > SILENT);
    }

    #[test]
    fn totals_that_are_too_large_are_repeated_less_often() {
        assert_eq!(repeat(1_000, 100), 1);
        assert_eq!(repeat(1_024, 512), 1, "half as many heartbeats");
        assert_eq!(repeat(10_240, 500), 20);
    }
}
