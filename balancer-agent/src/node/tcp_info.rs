//! What a TCP connection does, from `tcp_info`: whether it may be ended without anybody losing
//! something.

use std::{cmp::Ordering, time::Duration};

use serde::{Deserialize, Serialize};

/// Offsets into `tcp_info` of linux/tcp.h, and the length of what is read of it. Every kernel since
/// 4.6 has that much.
const STATE: usize = 0;
const RETRANSMITS: usize = 2;
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;
const SEGS_OUT: usize = 136;
const SEGS_IN: usize = 140;
const DATA_SEGS_IN: usize = 152;
const DATA_SEGS_OUT: usize = 156;
/// Length of what is read of `tcp_info`.
pub const LENGTH: usize = 160;

/// The longest that a peer waits with the acknowledgement of data that it does not answer.
const LATE_ACK: Duration = Duration::from_millis(250);

/// Two ticks of the kernel's clock, and a little more.
const TICKS: Duration = Duration::from_millis(10);
/// A connection that has rested for so long is not taken to have a rhythm.
pub const RESTED: Duration = Duration::from_secs(1);
/// Bytes that a server says at most before it answers anything: SETTINGS, their acknowledgement and a
/// WINDOW_UPDATE of HTTP/2 (RFC 9113).
const GREETING: u64 = 128;
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
    /// Segments with data, sent and received, repeated ones too. Wraps, as the next two do.
    pub data_segments: u32,
    /// Segments without data that were sent: acknowledgements by themselves, nearly all.
    pub bare_sent: u32,
    /// Segments without data that were received.
    pub bare_received: u32,
}

/// Who sends next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// The client: what it has sent was answered, or it has sent nothing.
    Client,
    /// The server: an answer is awaited.
    Server,
    /// That can't be told.
    #[default]
    Unknown,
}

impl Turn {
    /// This, or where it is not known what `other` gives.
    pub fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::Unknown { other() } else { self }
    }
}

impl Activity {
    /// From `tcp_info` and the lengths of the queues; none if that is too short.
    pub fn read(info: &[u8], unread: u32, unacknowledged: u32) -> Option<Self> {
        let info: &[u8; LENGTH] = info.first_chunk()?;
        let number = |at: usize| u32::from_ne_bytes(std::array::from_fn(|byte| info[at + byte]));
        let millis = |at: usize| Duration::from_millis(number(at).into());
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
            data_segments: number(DATA_SEGS_IN).wrapping_add(number(DATA_SEGS_OUT)),
            bare_sent: number(SEGS_OUT).wrapping_sub(number(DATA_SEGS_OUT)),
            bare_received: number(SEGS_IN).wrapping_sub(number(DATA_SEGS_IN)),
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

    /// Whose turn it is, as far as one look tells: whose data moved last.
    ///
    /// The kernel's clock for these times has ticks of 1 to 10 ms. What was sent and received within
    /// one tick was a request and its answer, or an answer and the next request. Of the latter the
    /// server acknowledges the request by itself, some moments later or at once.
    pub fn turn(&self) -> Turn {
        // A first request often falls into the tick of the handshake.
        if self.bytes_sent == 0 {
            return Turn::Client;
        }
        if self.bytes_received == 0 {
            return Turn::Server;
        }
        let acknowledged_after = self.sent.saturating_sub(self.acknowledged);
        let is_late = !acknowledged_after.is_zero() && acknowledged_after <= LATE_ACK;
        match self.sent.cmp(&self.received) {
            Ordering::Less => Turn::Server,
            Ordering::Greater => Turn::Client,
            Ordering::Equal if is_late => Turn::Server,
            Ordering::Equal => Turn::Unknown,
        }
    }

    /// Whose turn it is, as far as an earlier look tells with this one, at which all is acknowledged.
    ///
    /// Either side acknowledges what it received with what it sends next, or, where it sends nothing
    /// for a while, by itself. So what was sent last was answered where it was not acknowledged by
    /// itself, and was not where nothing was acknowledged by itself after it was received.
    pub fn turn_since(&self, before: &Self) -> Turn {
        if !self.is_empty() {
            return Turn::Unknown;
        }
        let bare_sent = self.bare_sent.wrapping_sub(before.bare_sent) > 0;
        let bare_received = self.bare_received.wrapping_sub(before.bare_received) > 0;
        let sent = self.bytes_sent != before.bytes_sent;
        let received = self.bytes_received != before.bytes_received;
        // What comes later may be a sign of life.
        let is_recent = self.idle() <= LATE_ACK;
        match (sent, received) {
            (true, false) => Turn::Server,
            (false, true) => Turn::Client,
            (true, true) if !bare_received => Turn::Client,
            (true, true) if !bare_sent && !is_recent => Turn::Server,
            (false, false) if is_recent && self.data_segments == before.data_segments => {
                match (bare_sent, bare_received) {
                    (true, false) => Turn::Client,
                    (false, true) => Turn::Server,
                    _ => Turn::Unknown,
                }
            }
            _ => Turn::Unknown,
        }
    }

    /// True where the server has said so little that a first request may not be answered yet, whatever
    /// moved last.
    pub const fn is_new(&self) -> bool {
        self.bytes_sent > 0 && self.bytes_received < GREETING
    }

    /// True if no data has moved between two looks.
    pub const fn rests_since(&self, before: &Self) -> bool {
        self.bytes_sent == before.bytes_sent && self.bytes_received == before.bytes_received
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
mod tests;
