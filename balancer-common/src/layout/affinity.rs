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
}
