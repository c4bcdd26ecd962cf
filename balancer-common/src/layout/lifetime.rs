//! How long connections lived, in words of the map of lifetimes.

/// Upper bounds of the buckets, in seconds; the last bucket has none.
pub const LIFETIME_BOUNDS: [u64; 6] = [1, 10, 60, 600, 3_600, 36_000];
/// The word after the buckets: the sum of all lifetimes, in milliseconds.
pub const LIFETIME_SUM: usize = LIFETIME_BOUNDS.len() + 1;
/// Words: the buckets, then the sum.
pub const LIFETIME_WORDS: usize = LIFETIME_SUM + 1;

/// The bucket of a lifetime in nanoseconds, below [`LIFETIME_SUM`].
#[inline(always)]
pub const fn lifetime_bucket(lifetime: u64) -> u32 {
    let mut bucket = 0;
    let mut at = 0;
    while at < LIFETIME_BOUNDS.len() {
        bucket += (lifetime > LIFETIME_BOUNDS[at] * 1_000_000_000) as u32;
        at += 1;
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        const SECOND: u64 = 1_000_000_000;
        for (lifetime, bucket) in [
            (0, 0),
            (SECOND, 0),
            (SECOND + 1, 1),
            (10 * SECOND, 1),
            (3_599 * SECOND, 4),
            (36_000 * SECOND, 5),
            (36_000 * SECOND + 1, 6),
            (u64::MAX, 6),
        ] {
            assert_eq!(lifetime_bucket(lifetime), bucket, "{lifetime} ns");
        }
        assert_eq!(lifetime_bucket(u64::MAX) as usize + 1, LIFETIME_SUM);
    }
}
