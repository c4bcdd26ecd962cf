//! Session affinity: which client has which backend.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of the map of session affinity: a client pod and a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ClientKey {
    /// Cookie of the client's network namespace.
    pub netns: u64,
    /// [`super::Service::group`].
    pub group: u32,
    /// Always 0.
    pub zero: u32,
}

/// Value of the map of session affinity, in one word, so that it changes at once: the backend, and
/// when it was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The backend.
    pub backend: u32,
    /// When it was last connected to, in ticks.
    pub used: u32,
}

/// By how many ticks, about a second, one processor may be behind another between reading the clock
/// and reading a pin.
const LATER: u32 = 1024;

impl Pin {
    /// The word.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        (self.used as u64) << 32 | self.backend as u64
    }

    /// The inverse of [`Pin::pack`].
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { backend: word as u32, used: (word >> 32) as u32 }
    }

    /// True if no more than `window` ticks have passed since the pin was used. Another processor may
    /// have used it after `now` was read; that is fresh, too.
    #[inline(always)]
    pub const fn is_fresh(self, now: u32, window: u32) -> bool {
        let age = now.wrapping_sub(self.used);
        age <= window || age > u32::MAX - LATER
    }

    /// True if the pin was last used before a tick. Ticks wrap: half of them are before another.
    #[inline(always)]
    pub const fn is_before(self, tick: u32) -> bool {
        tick.wrapping_sub(self.used).wrapping_sub(1) < u32::MAX / 2
    }
}

const _: () = assert!(size_of::<ClientKey>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_survives_packing() {
        let pin = Pin { backend: 77, used: u32::MAX };
        assert_eq!(Pin::unpack(pin.pack()), pin);
    }

    #[test]
    fn a_pin_is_before_later_ticks_alone() {
        for (used, tick, want) in
            [(5, 6, true), (5, 5, false), (6, 5, false), (u32::MAX, 0, true), (0, u32::MAX, false)]
        {
            assert_eq!(Pin { backend: 1, used }.is_before(tick), want, "{used} {tick}");
        }
    }

    #[test]
    fn a_pin_is_fresh_for_a_window_and_also_from_the_future() {
        // used, now, window -> fresh
        for (used, now, window, want) in [
            (10, 10, 0, true),
            (10, 11, 0, false),
            (10, 15, 5, true),
            (10, 16, 5, false),
            (11, 10, 0, true),
            (u32::MAX, 3, 4, true),
            (u32::MAX, 4, 4, false),
            (2, u32::MAX, 4, true),
            (3_000, 0, 4, false),
        ] {
            let pin = Pin { backend: 1, used };
            assert_eq!(pin.is_fresh(now, window), want, "{used} at {now} for {window}");
        }
    }
}
