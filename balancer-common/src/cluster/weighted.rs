//! The same by weight: [`crate::weighted`] among the slots that are taken.
//!
//! Estimates, floor and span are connections for a weight of 1. Among those that are taken the fewest
//! own connections for their weight win, and of equal ones each has its weight as the chance.
//!
//! ```text
//! score  29 28 27                  0
//! [ suspect ][ 0 ][ own for weight  ]    taken
//! [ suspect ][ 1 ][ above the level ]    not taken
//! ```

use crate::{
    cluster::estimate,
    layout::{Band, CLUSTER_FRACTION, PAD_ACTIVE},
    weighted::{SUSPECT_SCORE, SlowStart, Weight},
};

/// Bits after the point of an estimate for a weight.
pub const WEIGHTED_FRACTION: u32 = 12;
/// Set in the score of a slot that is not taken.
const BEYOND_SCORE: u64 = SUSPECT_SCORE >> 1;
/// The largest of what stands below it: the padding's score has one more.
const MOST: u64 = BEYOND_SCORE - 2;

impl SlowStart {
    /// The connections of all nodes that a backend has for a weight of 1, with [`WEIGHTED_FRACTION`] bits
    /// after the point, at most [`Band::MOST`]. `active` and `others` are its two words in the counters,
    /// `since` the tick of its beginning.
    #[inline(always)]
    pub fn estimate(self, active: u32, others: u32, weight: u32, since: u32) -> u32 {
        let (window, share) = self.grown(weight, since);
        let all = (estimate(active, others) as u64) << (WEIGHTED_FRACTION - CLUSTER_FRACTION);
        let each = all * window / share;
        if each > Band::MOST as u64 { Band::MOST } else { each as u32 }
    }

    /// What a slot is compared by, to whose estimate chance has added.
    #[inline(always)]
    pub fn weigh_all(
        self,
        active: u32,
        others: u32,
        weight: u32,
        since: u32,
        added: u32,
        band: Band,
    ) -> Weight {
        let own = self.weigh(active, weight, since);
        if active == PAD_ACTIVE {
            return own;
        }
        let above = self.estimate(active, others, weight, since).wrapping_add(added);
        let above = above.wrapping_sub(band.floor + 1);
        let (beyond, rest) = if (above as i32) < 0 {
            (0, own.score & !SUSPECT_SCORE)
        } else {
            (BEYOND_SCORE, above as u64)
        };
        let rest = if rest > MOST { MOST } else { rest };
        Weight { score: own.score & SUSPECT_SCORE | beyond | rest, share: own.share }
    }
}
