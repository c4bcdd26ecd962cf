//! What programs tell of each choice and each end, while somebody reads it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the ring buffer of events, each of which takes 160: there is room for 3,276. A power of
/// two and a multiple of a page, as the kernel asks.
pub const TRACE_BYTES: usize = 512 << 10;

/// Nanoseconds over which a budget lasts, as a power of two: 1.07 s.
pub const TRACE_WINDOW_SHIFT: u32 = 30;

/// The one value of the map that says what is told. One cache line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(64))]
pub struct Trace {
    /// Until when anything is told, in nanoseconds of CLOCK_MONOTONIC. The agent writes it anew all
    /// the time, so that what an agent has switched on does not outlive it.
    pub until: u64,
    /// The upper half is the window ([`TRACE_WINDOW_SHIFT`]), the lower one how many events there
    /// were in it. Programs write it.
    pub window: u64,
    /// Events that the budget had no room for. Programs write it.
    pub capped: u64,
    /// Events that the ring buffer had no room for. Programs write it.
    pub full: u64,
    /// Events of a window. The agent writes it, as the next one.
    pub budget: u32,
    /// What is told: a bit for each [`Told`].
    pub wanted: u32,
    /// Always 0: fills the cache line.
    pub zero: [u64; 3],
}

/// What an event tells. Stored as [`TraceEvent::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Told {
    /// A Service was dialled, and a backend chosen.
    Choice = 0,
    /// A Service was dialled, and what was answered is not a backend.
    Refusal = 1,
    /// Something that is no Service was dialled.
    NoService = 2,
    /// A charge has ended.
    End = 3,
    /// A socket whose charge has ended changes its state of TCP for the first time after that.
    State = 4,
}

impl Told {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Choice, Self::Refusal, Self::NoService, Self::End, Self::State];

    /// Its bit in [`Trace::wanted`].
    #[inline(always)]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Reads [`TraceEvent::kind`] back.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }
}

/// What chose a backend. Stored as [`TraceEvent::how`] of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum How {
    /// The policy.
    Policy = 0,
    /// It was suspect, and this connection tries it.
    Trial = 1,
    /// A seat was kept there.
    Seat = 2,
    /// Its client stays with it.
    Affinity = 4,
}

impl How {
    /// Where it stands in the word that says what was chosen, beside the backend.
    pub const SHIFT: u32 = 32;

    /// Beside a backend, in such a word.
    #[inline(always)]
    pub const fn mark(self) -> u64 {
        (self as u64) << Self::SHIFT
    }

    /// Reads [`TraceEvent::how`] back. A client may stay with what it tries, too: affinity is told
    /// then.
    pub const fn from_raw(raw: u8) -> Self {
        if raw & Self::Affinity as u8 != 0 {
            Self::Affinity
        } else if raw & Self::Seat as u8 != 0 {
            Self::Seat
        } else if raw & Self::Trial as u8 != 0 {
            Self::Trial
        } else {
            Self::Policy
        }
    }
}

/// What ended a charge. Stored as [`TraceEvent::how`] of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndedBy {
    /// The last close of the socket.
    Release = 0,
    /// Another `connect()` of the socket.
    Reconnect = 1,
    /// TCP left the state in [`TraceEvent::from_state`] for CLOSE.
    Tcp = 2,
}

impl EndedBy {
    /// Reads [`TraceEvent::how`] back.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Release),
            1 => Some(Self::Reconnect),
            2 => Some(Self::Tcp),
            _ => None,
        }
    }
}

/// Set in [`TraceEvent::flags`] where the connections of other nodes count.
pub const OF_ALL_NODES: u8 = 1;
/// Set in [`TraceEvent::flags`] of an end where a segment was received before the connection was
/// established.
pub const ANSWERED: u8 = 2;

/// An event in the ring buffer. What does not apply is 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TraceEvent {
    /// CLOCK_MONOTONIC in nanoseconds.
    pub at: u64,
    /// Cookie of the socket.
    pub cookie: u64,
    /// Of an end the word of its charge.
    pub word: u64,
    /// Cgroup of the task, of what is no end.
    pub cgroup: u64,
    /// Of an end nanoseconds since the SYN was sent; 0 where none was, and of UDP.
    pub age: u64,
    /// Bytes that were acknowledged, as TCP counts them, of an end by TCP and of a state.
    pub acked: u64,
    /// Bytes that were received, likewise.
    pub received: u64,
    /// What was dialled, as [`super::Backend::addr`].
    pub addr: [u32; 4],
    /// Of an end over TCP the address of the socket, likewise; 0 before its SYN.
    pub local: [u32; 4],
    /// Index into the map of Services.
    pub service: u32,
    /// The backend; [`super::PAD_BACKEND`] for none.
    pub backend: u32,
    /// The process.
    pub tgid: u32,
    /// Of a choice inside `connect()` what the backend had before it, of this node; the same are
    /// those up to `len`, and [`TraceEvent::policy`].
    pub active: u32,
    /// And of other nodes, as [`super::Counter::others`].
    pub others: u32,
    /// The least of the row before, with 8 bits after the point.
    pub least: u32,
    /// How many backends of the row had that.
    pub tied: u16,
    /// How many of the row were not suspect.
    pub usable: u16,
    /// How many the row has; 0 where nobody has looked.
    pub len: u32,
    /// Port that was dialled, network byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// A [`Told`].
    pub kind: u8,
    /// A [`crate::verdict::Verdict`].
    pub verdict: u8,
    /// A [`How`] of a choice, an [`EndedBy`] of an end.
    pub how: u8,
    /// [`OF_ALL_NODES`], [`ANSWERED`].
    pub flags: u8,
    /// The state of TCP before, of an end by TCP and of a state.
    pub from_state: u8,
    /// The state after, likewise.
    pub to_state: u8,
    /// The policy of the Service.
    pub policy: u8,
    /// Port of the socket, network byte order, where its address is known.
    pub local_port: u16,
    /// Always 0.
    pub zero: [u8; 4],
    /// Name of the task, up to a zero.
    pub comm: [u8; 16],
}

const _: () = {
    assert!(size_of::<Trace>() == 64);
    assert!(size_of::<TraceEvent>() == 152);
    assert!(TRACE_BYTES.is_power_of_two());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reads_back() {
        for told in Told::ALL {
            assert_eq!(Told::from_raw(told as u8), Some(told));
        }
        assert_eq!(Told::from_raw(Told::ALL.len() as u8), None);
        for by in [EndedBy::Release, EndedBy::Reconnect, EndedBy::Tcp] {
            assert_eq!(EndedBy::from_raw(by as u8), Some(by));
        }
        assert_eq!(EndedBy::from_raw(3), None);
    }

    #[test]
    fn of_several_reasons_that_of_the_client_is_told() {
        for how in [How::Policy, How::Trial, How::Seat, How::Affinity] {
            assert_eq!(How::from_raw(how as u8), how);
            assert_eq!((how.mark() >> How::SHIFT) as u8, how as u8);
        }
        assert_eq!(How::from_raw(How::Affinity as u8 | How::Trial as u8), How::Affinity);
    }
}
