//! SipHash-1-3 of one word: a hash that nobody can tell who does not know the key.

/// Hashes a word, least significant byte first.
#[inline(always)]
pub const fn siphash(key0: u64, key1: u64, word: u64) -> u64 {
    // The last word holds what is left of the message, nothing here, and its length.
    const LAST: u64 = 8 << 56;
    let mut v = [
        key0 ^ 0x736f_6d65_7073_6575,
        key1 ^ 0x646f_7261_6e64_6f6d,
        key0 ^ 0x6c79_6765_6e65_7261,
        key1 ^ 0x7465_6462_7974_6573,
    ];
    v[3] ^= word;
    v = round(v);
    v[0] ^= word;
    v[3] ^= LAST;
    v = round(v);
    v[0] ^= LAST;
    v[2] ^= 0xff;
    v = round(round(round(v)));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
const fn round([mut v0, mut v1, mut v2, mut v3]: [u64; 4]) -> [u64; 4] {
    v0 = v0.wrapping_add(v1);
    v2 = v2.wrapping_add(v3);
    v1 = v1.rotate_left(13) ^ v0;
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.rotate_left(32).wrapping_add(v3);
    v2 = v2.wrapping_add(v1);
    v3 = v3.rotate_left(21) ^ v0;
    v1 = v1.rotate_left(17) ^ v2;
    [v0, v1, v2.rotate_left(32), v3]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::hash::{DefaultHasher, Hasher as _};

    use super::*;

    /// The standard library's hasher is SipHash-1-3 with a key of zeros.
    #[test]
    fn it_is_siphash() {
        for word in [0, 1, 42, 0x0123_4567_89ab_cdef, u64::MAX] {
            let mut hasher = DefaultHasher::new();
            hasher.write(&word.to_le_bytes());
            assert_eq!(siphash(0, 0, word), hasher.finish(), "{word:x}");
        }
    }

    #[test]
    fn both_halves_of_the_key_count() {
        let plain = siphash(1, 2, 3);
        assert_ne!(plain, siphash(2, 2, 3));
        assert_ne!(plain, siphash(1, 1, 3));
    }
}
