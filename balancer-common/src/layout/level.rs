//! What a node knows of the connections of all nodes.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits after the point of [`Counter::others`] and [`Band`].
pub const CLUSTER_FRACTION: u32 = 8;

/// Value of the slab of counters: a backend.
///
/// Programs change the first word, the agent the second: neither ever writes both.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Counter {
    /// Open connections of this node, with the bit of [`crate::suspect`].
    pub active: u32,
    /// Connections of all other nodes, with 8 bits after the point; at most [`Counter::MOST_OTHERS`] of
    /// them are told apart.
    pub others: u32,
}

impl Counter {
    /// Where its words are, in bytes.
    pub const ACTIVE_AT: usize = offset_of!(Self, active);
    /// As above.
    pub const OTHERS_AT: usize = offset_of!(Self, others);
    /// The most connections of others that are told apart: with those of this node they stay below 2 to
    /// the power of 20.
    pub const MOST_OTHERS: u32 = 1 << 19;

    /// The word of [`Counter::others`] for so many connections.
    pub const fn others_of(connections: u32) -> u32 {
        let most = Self::MOST_OTHERS;
        (if connections < most { connections } else { most }) << CLUSTER_FRACTION
    }
}

/// What the agent says of a row: which of its backends may get a connection, and until when that holds.
///
/// In the unit of the row's estimates, which are connections with 8 bits after the point, and of rows
/// that are compared by weight ([`crate::policy::Policy::weighs`]) connections for a weight of 1 with 12
/// ([`crate::weighted::SlowStart::estimate`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The largest estimate that is taken.
    pub floor: u32,
    /// How far the smallest estimate of the row is below that, plus 1. 0 takes the least alone.
    pub span: u32,
    /// When the estimates were written ([`milliseconds`]).
    pub fresh_ms: u32,
}

/// [`Level::floor`] and [`Level::span`], as programs read them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// What is above is not taken; below [`Band::MOST`].
    pub floor: u32,
    /// What chance adds to an estimate is below this; from 1 to `floor + 1`.
    pub span: u32,
}

impl Band {
    /// Floors are below this.
    pub const MOST: u32 = 1 << 28;

    /// The word for programs. It is never 0.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.floor as u64) << 32 | self.span as u64
    }

    /// The inverse of [`Band::pack`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { floor: (word >> 32) as u32, span: word as u32 }
    }
}

impl Level {
    /// Cut to what programs rely on. A span of 0, whose floor is below every estimate, becomes one that
    /// takes what is equal to the least.
    pub const fn band(self) -> Band {
        let most = Band::MOST - 1;
        let floor = if self.floor < most { self.floor } else { most };
        if self.span == 0 {
            return Band { floor: if floor < most { floor + 1 } else { floor }, span: 1 };
        }
        Band { floor, span: if self.span <= floor { self.span } else { floor + 1 } }
    }
}

/// Nanoseconds after which a level is no longer believed. What stays in the maps when nobody writes
/// them any more makes every node even out the same old difference.
pub const FRESH_NS: u64 = 3_000_000_000;
/// The same in milliseconds of levels.
pub const FRESH_MS: u32 = (FRESH_NS / MILLISECOND_NS) as u32;
/// Nanoseconds of a millisecond of levels: a power of two, so that programs need not divide.
pub const MILLISECOND_NS: u64 = 1 << 20;

/// The time of a level, from CLOCK_MONOTONIC_COARSE in nanoseconds: units of 2 to the power of 20
/// nanoseconds, modulo 2 to the power of 32 (52 days), and never 0, which stands for no level. The finer
/// clock is ahead of this one, and takes longer to read.
#[inline(always)]
pub const fn milliseconds(coarse_ns: u64) -> u32 {
    let now = (coarse_ns / MILLISECOND_NS) as u32;
    if now == 0 { 1 } else { now }
}

/// True if what was written at `fresh` is believed at `now`.
#[inline(always)]
pub const fn is_fresh(fresh: u32, now: u32) -> bool {
    fresh != 0 && now.wrapping_sub(fresh) <= FRESH_MS
}

const _: () = assert!(size_of::<Counter>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_cut_to_what_programs_rely_on() {
        let band = |floor, span| Level { floor, span, fresh_ms: 1 }.band();
        assert_eq!(band(1000, 300), Band { floor: 1000, span: 300 });
        assert_eq!(band(0, 9), Band { floor: 0, span: 1 });
        assert_eq!(band(511, 0), Band { floor: 512, span: 1 }, "the least has 512");
        assert_eq!(band(u32::MAX, u32::MAX), Band { floor: Band::MOST - 1, span: Band::MOST });
        assert_eq!(band(u32::MAX, 0), Band { floor: Band::MOST - 1, span: 1 });
        for (floor, span) in [(0, 0), (7, 3), (u32::MAX, u32::MAX)] {
            let band = band(floor, span);
            assert_eq!(Band::unpack(band.pack()), band);
            assert!(band.pack() != 0 && band.span >= 1 && band.span <= band.floor + 1);
        }
    }

    #[test]
    fn others_are_cut() {
        assert_eq!([0, 3, u32::MAX].map(Counter::others_of), [0, 768, 1 << 27]);
    }

    #[test]
    fn a_level_is_believed_for_three_seconds() {
        let at = |ms: u64| milliseconds(ms * 1_000_000);
        assert!(is_fresh(at(5000), at(5000)) && is_fresh(at(5000), at(7990)));
        assert!(!is_fresh(at(5000), at(8010)));
        assert!(!is_fresh(0, at(1)), "nothing was ever written");
        assert_eq!(milliseconds(0), 1);
        assert!(!is_fresh(at(5000), at(4000)), "from the future, or from 52 days ago");
        assert!(is_fresh(u32::MAX, milliseconds(1 << 20)), "the clock goes round");
    }
}
