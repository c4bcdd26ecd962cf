//! Service ports and their backends.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Counter, MAX_BACKENDS, MAX_SLOTS, PAD_BACKEND, ROW_STEP, SEATS};
use crate::policy::MAX_WEIGHT;

/// Value of the map of Services: one Service port of one family, so that no frontend leads to a
/// backend that its clients' sockets can't reach.
///
/// `row` is replaced by one aligned 8-byte store, so that a program sees either the old set of
/// backends or the new one. The other words say how one of them is chosen; each stands for itself. One
/// cache line, since what the agent hears of other nodes is read with all the rest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(64))]
pub struct Service {
    /// A [`Row`], packed, with its generation.
    pub row: u64,
    /// A [`crate::policy::Policy`] in the lowest byte, with [`KEEPS_SUSPECTS`] and [`STAYS`].
    pub policy: u32,
    /// Seconds for which a client stays with its backend; 0 without session affinity.
    pub affinity: u32,
    /// Seconds over which a new backend comes to its full share; 0 for at once.
    pub slow_start: u32,
    /// The Service whose memory of clients this one shares; its own identifier, or that of another
    /// row of the same Service port.
    pub group: u32,
    /// What round-robin counts.
    pub cursor: u32,
    /// The [`moment`](crate::suspect::moment) in which its row was last looked through for a backend to
    /// try, and none was due. Programs write it.
    pub looked: u32,
    /// A [`super::Band`], packed: which backends may get a connection while others open theirs. The
    /// agent replaces it in one store, before the next word.
    pub band: u64,
    /// When that was written, and the words of other nodes before it ([`super::milliseconds`]); 0 where
    /// nothing is known of them.
    pub fresh: u32,
    /// Where [`STAYS`] is set, one more than the index of the Service that connections from outside go
    /// by; 0 for none.
    pub outside: u32,
    /// 1 where the next word may hold seats, else 0: what every connection reads. The agent writes it after
    /// it has added one, and before it forgets that there were some.
    pub seated: u32,
    /// Each a [`super::Seat`], packed: where the next connections go.
    pub seats: [u32; SEATS],
}

/// Set in [`Service::policy`] where backends that have just failed are chosen like others, and where
/// what fails makes none suspect (`balancer-agent/suspect: "off"`).
pub const KEEPS_SUSPECTS: u32 = 1 << 8;

/// Set in [`Service::policy`] where connections from outside must stay on this node
/// (`externalTrafficPolicy: Local`). Programs that choose for sockets of the node do not look at it.
pub const STAYS: u32 = 1 << 9;

/// Where the backends of a Service port stand in the slot slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    /// First slot.
    pub base: u32,
    /// Number of backends; 0 means that the Service has no usable endpoint: the row is
    /// [`Row::EMPTY`] or [`Row::NOT_LOCAL`].
    pub len: u32,
}

impl Row {
    /// No usable endpoint anywhere.
    pub const EMPTY: Self = Self { base: 0, len: 0 };
    /// No usable endpoint on this node, where internalTrafficPolicy is Local. An empty row has no
    /// slots, so that its base is free to tell the two apart, in the same store.
    pub const NOT_LOCAL: Self = Self { base: 1, len: 0 };

    const BITS: u32 = 20;
    const MASK: u64 = (1 << Self::BITS) - 1;

    /// The word of [`Service::row`]. The generation tells two rows apart that lie in the same
    /// place one after the other, so that whoever remembers the word knows that the set of
    /// backends is still the same; it has 24 bits.
    #[inline(always)]
    pub const fn pack(self, generation: u32) -> u64 {
        (generation as u64) << (2 * Self::BITS)
            | (self.base as u64 & Self::MASK) << Self::BITS
            | self.len as u64 & Self::MASK
    }

    /// The inverse of [`Row::pack`], but for the generation.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { base: (word >> Self::BITS & Self::MASK) as u32, len: (word & Self::MASK) as u32 }
    }

    /// The generation in a word.
    pub const fn generation(word: u64) -> u32 {
        (word >> (2 * Self::BITS)) as u32
    }

    /// Slots that a row of `len` backends occupies, padding included.
    pub const fn width(len: u32) -> u32 {
        len.div_ceil(ROW_STEP) * ROW_STEP
    }
}

/// One word of the slot slab: a backend of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index into the counters and the map of backends, below [`MAX_BACKENDS`].
    pub backend: u32,
    /// Its share beside that of others, at most [`crate::policy::MAX_WEIGHT`]. Only the weighted
    /// choice reads it.
    pub weight: u16,
    /// Drawn when the row was written, and the slot's index; breaks ties ([`crate::choice::salt`]).
    pub salt: u32,
}

impl Slot {
    /// What rows are padded with.
    pub const PAD: Self = Self { backend: PAD_BACKEND, weight: 1, salt: 0 };

    /// Where its salt is in a word, in bytes: programs read both halves by themselves. The agent writes
    /// the whole word, and what a salt of another moment changes is which of equal backends is taken.
    pub const SALT_AT: usize = 0;
    /// Where the half with its backend and its weight is.
    pub const BACKEND_AT: usize = 4;
    /// What a backend is multiplied with in its half: the size of a counter, so that what is left under
    /// [`Slot::OFFSET_MASK`] is the place of its counter.
    const COUNTER: u32 = size_of::<Counter>() as u32;
    /// The bits of the half that are the backend.
    pub const OFFSET_MASK: u32 = (MAX_BACKENDS - 1) * Self::COUNTER;
    const WEIGHT_SHIFT: u32 = (MAX_BACKENDS * Self::COUNTER).trailing_zeros();

    /// The word in the slab.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        let backend = (self.backend * Self::COUNTER) & Self::OFFSET_MASK;
        let half = (self.weight as u32) << Self::WEIGHT_SHIFT | backend;
        (half as u64) << 32 | self.salt as u64
    }

    /// The inverse of [`Slot::pack`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        let half = (word >> 32) as u32;
        Self {
            backend: (half & Self::OFFSET_MASK) / Self::COUNTER,
            weight: (half >> Self::WEIGHT_SHIFT) as u16,
            salt: word as u32,
        }
    }
}

const _: () = {
    assert!(size_of::<Service>() == 64);
    assert!(MAX_WEIGHT < 1 << (32 - Slot::WEIGHT_SHIFT));
    assert!(MAX_SLOTS < 1 << Row::BITS);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_slots_survive_packing() {
        let row = Row { base: MAX_SLOTS, len: MAX_SLOTS };
        assert_eq!(Row::unpack(row.pack(u32::MAX)), row);
        assert_eq!(Row::generation(row.pack(0xab_cdef)), 0xab_cdef);
        let slot = Slot { backend: MAX_BACKENDS - 1, weight: 1000, salt: u32::MAX };
        assert_eq!(Slot::unpack(slot.pack()), slot);
    }

    #[test]
    fn a_row_is_as_wide_as_its_padding() {
        assert_eq!([0, 1, 4, 5].map(Row::width), [0, 4, 4, 8]);
    }
}
