//! When something is said, and until when it counts.

use std::time::Duration;

use balancer_common::layout::FRESH_NS;

/// Least time between two reports of one Service port, and between two totals of it. What changes is
/// said at once where that much time has passed. Half of it is the mean age that it adds.
pub const GAP: Duration = Duration::from_millis(250);
/// Time between two heartbeats to one peer, which repeat everything.
pub const BEAT: Duration = Duration::from_secs(1);
/// A peer that was heard within this time takes part.
pub const HEARD: Duration = Duration::from_secs(3);
/// What a silent node had counts for so long: its connections are most likely there still.
pub const SILENT: Duration = Duration::from_secs(10);
/// What this node was told counts for so long; the programs compare, too.
pub const FRESH: Duration = Duration::from_nanos(FRESH_NS);
/// How long what left a row counts as about to come back.
pub const LEFT: Duration = Duration::from_secs(30);
/// How long a node that has no connection to a Service any more counts as a user of it.
pub const USED: Duration = Duration::from_secs(600);
/// Least time between two levels of one row.
pub const LEVEL: Duration = Duration::from_millis(100);
/// Peers up to which each hears of a change at once, whether it dials the Service or not.
pub const FEW: usize = 32;
/// Peers above which heartbeats are slower, so that they are no more a second.
pub const MANY: usize = 500;
/// Bytes a second at which one node repeats the totals of one Service port at most.
pub const REPEATED: usize = 256 * 1024;

/// Time between two heartbeats to one peer where there are so many.
pub fn beat(peers: usize) -> Duration {
    BEAT * u32::try_from(peers.div_ceil(MANY).max(1)).unwrap_or(u32::MAX)
}

/// How long a node waits before it speaks as the steward of a Service port: until every peer has had
/// the time to notice, and to repeat all that it has.
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
        for (peers, seconds) in [(0, 1), (1, 1), (500, 1), (501, 2), (2_000, 4)] {
            assert_eq!(beat(peers), Duration::from_secs(seconds), "{peers} peers");
        }
    }

    #[test]
    fn totals_that_are_too_large_are_repeated_less_often() {
        assert_eq!(repeat(1_000, 100), 1);
        assert_eq!(repeat(1_024, 512), 1, "half as many heartbeats");
        assert_eq!(repeat(10_240, 500), 20);
    }
}
