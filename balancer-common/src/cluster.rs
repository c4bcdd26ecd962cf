//! Least connections of the whole cluster: a band that is thinned by chance, own connections first.
//!
//! The estimate of a backend is this node's counter, which is exact, plus what the other nodes have
//! said, which is old. All nodes that saw the same least backend would send it everything until they
//! hear of each other. So the agent says up to which level a row may be filled meanwhile
//! ([`crate::layout::Level`]), and a backend below that level is *taken* with a chance that grows with
//! what it lacks:
//!
//! ```text
//! dithered = estimate + chance * span        taken if dithered <= floor
//! ```
//!
//! Among those that are taken the fewest connections of *this* node win, ties uniformly. With fresh
//! counts that changes nothing; with old ones, or where connections are short, the choice becomes that
//! of [`crate::choice`] by itself. Where none is taken the least dithered estimate wins. Where nobody
//! else opens connections the level takes the least alone, and the choice is exact.
//!
//! # The key
//!
//! It has the form of [`crate::choice`], a score above a tie, and the smallest wins:
//!
//! ```text
//! score  30 29 28                  0
//! [ suspect ][ 0 ][ own connections ]    taken
//! [ suspect ][ 1 ][ above the level ]    not taken
//! ```
//!
//! So suspects lose to all others, and who is not taken to who is. The counter of the padding has all
//! bits of a score, and no level leaves it untaken.

pub mod weighted;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use crate::{
    choice::{Draw, Pick, SAMPLES, Table, below},
    layout::{Band, CLUSTER_FRACTION, Counter, PAD_ACTIVE},
    suspect::SUSPECT,
    weighted::Changed,
};

/// Set in the score of a slot that is not taken.
pub const BEYOND: u32 = 1 << 29;
const _: () = {
    assert!(
        Counter::others_of(u32::MAX) as u64 + ((1 << 19) << CLUSTER_FRACTION) <= Band::MOST as u64
    );
    assert!(Band::MOST <= BEYOND / 2, "twice this is the largest dithered estimate");
    assert!(PAD_ACTIVE == SUSPECT | (SUSPECT - 1));
};

/// The counters and one row with what is known of other nodes.
pub trait ClusterTable: Table {
    /// [`Counter::others`] of a backend; 0 for padding.
    fn others(&self, backend: u32) -> u32;
}

/// Randomness for one scan: of 64 bits of a product with a salt, the highest 16 are the chance of its
/// slot and the lowest 32 its tie.
#[derive(Clone, Copy, Debug)]
pub struct Chances {
    a: u64,
}

impl Chances {
    /// From a uniformly random word. Ties are those of [`Draw::new`]; what makes the chance is the same
    /// word, spread by the golden ratio, so that a small tie says nothing of it.
    #[inline(always)]
    pub const fn new(random: u32) -> Self {
        let high = random.wrapping_mul(0x9e37_79b9) as u64;
        Self { a: high << 32 | Draw::new(random).factor() as u64 }
    }

    /// What salts are multiplied with.
    #[inline(always)]
    pub const fn factor(self) -> u64 {
        self.a
    }

    /// The ties.
    #[inline(always)]
    pub const fn ties(self) -> Draw {
        Draw::new(self.a as u32)
    }

    /// What chance adds to the estimate of a slot, below the span of the band.
    #[inline(always)]
    pub const fn added(self, salt: u32, band: Band) -> u32 {
        let chance = (salt as u64).wrapping_mul(self.a) >> 48;
        ((chance * band.span as u64) >> 16) as u32
    }
}

/// The connections of all nodes, with [`CLUSTER_FRACTION`] bits after the point. The bit of suspects
/// leaves the word.
#[inline(always)]
pub const fn estimate(active: u32, others: u32) -> u32 {
    (active << CLUSTER_FRACTION).wrapping_add(others)
}

/// The score of a slot to whose estimate chance has added.
#[inline(always)]
pub const fn score(active: u32, others: u32, added: u32, band: Band) -> u32 {
    let dithered = estimate(active, others).wrapping_add(added);
    let above = dithered.wrapping_sub(band.floor + 1);
    if (above as i32) < 0 { active } else { active & SUSPECT | BEYOND.wrapping_add(above) }
}

/// True for the key of a slot that is not taken and not suspect.
#[inline(always)]
pub const fn is_untaken(key: u64) -> bool {
    (key >> 32) as u32 & (SUSPECT | BEYOND) == BEYOND
}

/// Slots that programs compare in one go, half of [`crate::choice::PART`]: there are more ways through each
/// of them, and the verifier follows all.
pub const PART: u32 = 64;

/// The smallest of `best` and the keys of the first `len` slots of a part; more than `PART` are not
/// looked at.
#[inline(always)]
pub fn part<const PART: u32, T: ClusterTable>(
    table: &T,
    len: u32,
    chances: Chances,
    band: Band,
    mut best: u64,
) -> u64 {
    let mut index = 0;
    while index < PART {
        if index >= len {
            break;
        }
        let slot = table.slot(index);
        let (active, others) = (table.active(slot.backend), table.others(slot.backend));
        let score = score(active, others, chances.added(slot.salt, band), band);
        let key = chances.ties().key(score, slot.salt);
        if key < best {
            best = key;
        }
        index += 1;
    }
    best
}

/// The backend whose key won. The score of one that was taken is its counter; of another, the counter is
/// read again: `Err` where it changed meanwhile and the scan must be done again. `None` only where every
/// backend is padding.
#[inline(always)]
pub fn won<T: ClusterTable>(
    table: &T,
    key: u64,
    chances: Chances,
    band: Band,
) -> Option<Result<Pick, Changed>> {
    let (index, score) = chances.ties().winner(key)?;
    let slot = table.slot(index);
    if score & BEYOND == 0 {
        return Some(Ok(Pick { backend: slot.backend, seen: score }));
    }
    let (seen, others) = (table.active(slot.backend), table.others(slot.backend));
    let same = self::score(seen, others, chances.added(slot.salt, band), band) == score;
    Some(if same { Ok(Pick { backend: slot.backend, seen }) } else { Err(Changed) })
}

/// The least estimate of [`SAMPLES`] random slots of a row of `len` backends, for rows too long to be
/// scanned, suspects only among themselves. `random` yields uniformly random words.
#[inline(always)]
pub fn sample<T: ClusterTable>(
    table: &T,
    len: u32,
    mut random: impl FnMut() -> u32,
) -> Option<Pick> {
    let mut best = Pick { backend: 0, seen: PAD_ACTIVE };
    let mut least = PAD_ACTIVE;
    let mut round = 0;
    while round < SAMPLES {
        let backend = table.slot(below(random(), len)).backend;
        let seen = table.active(backend);
        let score = seen & SUSPECT | estimate(seen, table.others(backend));
        // That of the padding is above the least there is.
        if score < least {
            least = score;
            best = Pick { backend, seen };
        }
        round += 1;
    }
    if best.seen == PAD_ACTIVE { None } else { Some(best) }
}
