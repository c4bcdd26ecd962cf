//! Seats: backends that the next connections of a Service port go to.

use super::{MAX_BACKENDS, PAD_BACKEND};

/// Backends of one Service port that seats are kept at, at most.
pub const SEATS: usize = 3;

/// A word of [`super::Service::seats`]: a backend, and how many connections it is kept free for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seat {
    /// The backend.
    pub backend: u32,
    /// How many of the next connections go there, at most [`Seat::MOST`].
    pub count: u32,
}

impl Seat {
    const BITS: u32 = 14;
    /// The most connections that one word holds seats for.
    pub const MOST: u32 = (1 << Self::BITS) - 1;

    /// The word; 0 for no seat.
    #[inline(always)]
    pub const fn pack(self) -> u32 {
        if self.count == 0 { 0 } else { self.backend << Self::BITS | self.count & Self::MOST }
    }

    /// The inverse of [`Seat::pack`]. Without a seat the backend is [`PAD_BACKEND`].
    #[inline(always)]
    pub const fn unpack(word: u32) -> Self {
        let count = word & Self::MOST;
        let backend = if count == 0 { PAD_BACKEND } else { word >> Self::BITS };
        Self { backend, count }
    }
}

const _: () = assert!(MAX_BACKENDS.trailing_zeros() + Seat::BITS <= u32::BITS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_survive_packing() {
        let seat = Seat { backend: MAX_BACKENDS - 1, count: Seat::MOST };
        assert_eq!(Seat::unpack(seat.pack()), seat);
        assert_eq!(Seat { backend: 7, count: 0 }.pack(), 0);
        assert_eq!(Seat::unpack(0), Seat { backend: PAD_BACKEND, count: 0 });
    }
}
