//! What a TCP connection does, from `tcp_info`: whether it may be ended without anybody losing
//! something.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Offsets into `tcp_info` of linux/tcp.h, and the length of what is read of it. Every kernel since
/// 4.1 has that much.
const STATE: usize = 0;
const RETRANSMITS: usize = 2;
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;
/// Length of what is read of `tcp_info`.
pub const LENGTH: usize = 136;

/// The longest that a peer waits with the acknowledgement of data that it does not answer.
const LATE_ACK: Duration = Duration::from_millis(250);

/// Two ticks of the kernel's clock, and a little more.
const TICKS: Duration = Duration::from_millis(10);
/// A connection that has rested for so long is not taken to have a rhythm.
const RESTED: Duration = Duration::from_secs(1);
/// States of TCP, as the kernel numbers them.
const ESTABLISHED: u8 = 1;

/// What a connection does at one moment. Times are how long ago something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Its state.
    pub state: u8,
    /// Retransmissions of what is not acknowledged.
    pub retransmits: u8,
    /// Bytes that its program has not read.
    pub unread: u32,
    /// Bytes that are not sent, or not acknowledged.
    pub unacknowledged: u32,
    /// When data was sent last.
    pub sent: Duration,
    /// When data was received last.
    pub received: Duration,
    /// When something was acknowledged last.
    pub acknowledged: Duration,
    /// Bytes sent and acknowledged.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
}

impl Activity {
    /// From `tcp_info` and the lengths of the queues; none if that is too short.
    pub fn read(info: &[u8], unread: u32, unacknowledged: u32) -> Option<Self> {
        let info: &[u8; LENGTH] = info.first_chunk()?;
        let millis = |at: usize| {
            let [a, b, c, d] = [info[at], info[at + 1], info[at + 2], info[at + 3]];
            Duration::from_millis(u32::from_ne_bytes([a, b, c, d]).into())
        };
        let bytes = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| info[at + byte]));
        Some(Self {
            state: info[STATE],
            retransmits: info[RETRANSMITS],
            unread,
            unacknowledged,
            sent: millis(LAST_DATA_SENT),
            received: millis(LAST_DATA_RECV),
            acknowledged: millis(LAST_ACK_RECV),
            // The SYN counts as a byte.
            bytes_sent: bytes(BYTES_ACKED).saturating_sub(1),
            bytes_received: bytes(BYTES_RECEIVED),
        })
    }

    /// How long nothing has moved.
    pub fn idle(&self) -> Duration {
        self.sent.min(self.received)
    }

    /// True where nothing is under way: nothing unread, unsent or unacknowledged.
    pub const fn is_empty(&self) -> bool {
        self.state == ESTABLISHED && self.unread == 0 && self.unacknowledged == 0
    }

    /// True where the client seems to wait for an answer: what moved last was what it sent, or the
    /// server has never said anything.
    ///
    /// The kernel's clock for these times has ticks of 1 to 10 ms. Where both are of one tick, the
    /// client may have sent on receipt of an answer; the server then acknowledges that by itself,
    /// some moments later.
    pub fn awaits(&self) -> bool {
        let acknowledged_after = self.sent.saturating_sub(self.acknowledged);
        let late = !acknowledged_after.is_zero() && acknowledged_after <= LATE_ACK;
        // A first request often falls into the tick of the handshake, and is acknowledged at once.
        let first = self.bytes_sent > 0 && self.bytes_received == 0;
        first || self.sent < self.received || (self.sent == self.received && late)
    }

    /// True where it may be ended: nothing is under way, no answer is awaited, and nothing has moved
    /// for `quiet`.
    pub fn is_quiet(&self, quiet: Duration) -> bool {
        self.is_empty() && !self.awaits() && self.idle() >= quiet
    }

    /// True where nobody will soon go on, as far as that can be told: it has been quiet for just long
    /// enough, or so long that it may rest for ever. In between, a client with a rhythm may be about to
    /// send.
    pub fn is_safe(&self, quiet: Duration) -> bool {
        self.idle() < quiet + (quiet / 5).max(TICKS) || self.has_rested()
    }

    /// The same a little later: the sockets of all that are to be ended are fetched in between.
    pub fn is_safe_still(&self, quiet: Duration) -> bool {
        self.idle() < quiet + (quiet / 2).max(TICKS) || self.has_rested()
    }

    /// After which time it may be quiet and [safe](Self::is_safe) for the next time, if not now: when it
    /// has been quiet for long enough, or has rested. What is neither has an exchange before it.
    pub fn next_safe(&self, quiet: Duration) -> Duration {
        // Whoever is answered rests from then on.
        let idle = if self.is_empty() && !self.awaits() { self.idle() } else { Duration::ZERO };
        if idle < quiet {
            quiet - idle
        } else if idle < RESTED {
            quiet.min(RESTED - idle)
        } else {
            quiet
        }
    }

    /// True where nothing has moved for long.
    pub fn has_rested(&self) -> bool {
        self.idle() >= RESTED
    }

    /// The name of its state.
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            ESTABLISHED => "established",
            2 => "connecting",
            4 | 5 => "closing",
            8 => "half-closed",
            _ => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn activity(sent: u64, received: u64, acknowledged: u64) -> Activity {
        Activity {
            state: ESTABLISHED,
            sent: ms(sent),
            received: ms(received),
            acknowledged: ms(acknowledged),
            bytes_sent: 300,
            bytes_received: 5_000,
            ..Activity::default()
        }
    }

    #[test]
    fn quiet_is_what_was_answered_and_rests() {
        // sent, received, acknowledged so many milliseconds ago -> quiet for 100 ms
        for (sent, received, acknowledged, want) in [
            (500, 490, 490, true),
            (500, 500, 500, true),
            (90, 80, 80, false),
            // A request that was not answered, the first of all or a later one.
            (500, 900, 500, false),
            (60_000, 60_200, 59_960, false),
            // A request in the same tick as the answer before it; the server has acknowledged it.
            (5_000, 5_000, 4_960, false),
            // The same tick, and an answer to a keep-alive probe since.
            (50_000, 50_000, 5_000, true),
        ] {
            let found = activity(sent, received, acknowledged);
            assert_eq!(found.is_quiet(ms(100)), want, "{sent} {received} {acknowledged}");
        }
    }

    #[test]
    fn a_first_request_is_awaited_whenever_it_was_sent() {
        let asked = Activity { bytes_received: 0, ..activity(900, 900, 900) };
        assert!(asked.awaits() && !asked.is_quiet(ms(100)));
        let unused = Activity { bytes_sent: 0, ..asked };
        assert!(!unused.awaits() && unused.is_quiet(ms(100)));
    }

    #[test]
    fn rests_are_short_or_long() {
        // Quiet at least, quiet for -> safe.
        for (quiet, idle, want) in [
            (50, 50, true),
            (50, 59, true),
            (50, 60, false),
            (50, 999, false),
            (50, 1000, true),
            (20, 29, true),
            (600, 719, true),
            (600, 720, false),
        ] {
            assert_eq!(activity(idle, idle, idle).is_safe(ms(quiet)), want, "{quiet} {idle}");
        }
        for (idle, want) in [(60, true), (74, true), (75, false), (999, false), (1000, true)] {
            assert_eq!(activity(idle, idle, idle).is_safe_still(ms(50)), want, "{idle}");
        }
    }

    #[test]
    fn what_is_not_quiet_yet_will_be() {
        // Quiet for -> safe after, at the earliest.
        for (idle, want) in [(0, 50), (20, 30), (49, 1), (50, 50), (90, 50), (980, 20), (1000, 50)]
        {
            let activity = activity(idle, idle, idle);
            assert_eq!(activity.next_safe(ms(50)), ms(want), "{idle}");
        }
        let asked = Activity { sent: ms(30), ..activity(30, 90, 30) };
        assert_eq!(asked.next_safe(ms(50)), ms(50), "from the answer on");
    }

    #[test]
    fn nothing_may_be_under_way() {
        let rests = activity(900, 900, 900);
        assert!(rests.is_quiet(ms(100)));
        for busy in [
            Activity { unread: 1, ..rests },
            Activity { unacknowledged: 1, ..rests },
            Activity { state: 2, ..rests },
            Activity { state: 8, ..rests },
        ] {
            assert!(!busy.is_quiet(ms(100)), "{busy:?}");
        }
    }

    #[test]
    fn what_is_too_short_is_not_read() {
        assert_eq!(Activity::read(&[1; LENGTH - 1], 0, 0), None);
        let mut info = [0; 300];
        info[STATE] = ESTABLISHED;
        info[LAST_DATA_SENT..LAST_DATA_SENT + 4].copy_from_slice(&7_u32.to_ne_bytes());
        info[BYTES_ACKED..BYTES_ACKED + 8].copy_from_slice(&101_u64.to_ne_bytes());
        info[BYTES_RECEIVED..BYTES_RECEIVED + 8].copy_from_slice(&55_u64.to_ne_bytes());
        let read = Activity::read(&info, 3, 4).unwrap();
        assert_eq!((read.sent, read.bytes_sent, read.bytes_received), (ms(7), 100, 55));
        assert_eq!((read.unread, read.unacknowledged, read.state_name()), (3, 4, "established"));
    }
}
