//! From what all nodes have to the level of a row: up to which estimate a backend may get a
//! connection.
//!
//! What this node was told is some tenths of a second old, and so it is on all nodes: the one
//! backend with the fewest connections would get those of all of them at once. So the connections
//! that come until the next word are poured over the backends like water, and each backend below
//! the level takes its part of them ("thinned band" in `balancer_common`).

use std::time::Duration;

use balancer_common::{cluster::weighted::WEIGHTED_FRACTION, layout::CLUSTER_FRACTION};

use super::pace;

/// Estimates at most, as in the programs.
const MOST: u32 = (1 << 20) - 1;
/// Hundredths by which the connections that are expected are multiplied: from 100 to 400 all do
/// alike.
const CAUTION: u64 = 150;
/// What a word takes from a counter to another node beside the waits: a look each 25 ms on average
/// half over, and the network twice.
const WAY: Duration = Duration::from_millis(25);
/// What is poured at most, far above every estimate.
const HIGHEST: u64 = 1 << 40;

/// Which backends of a row may get a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filling {
    /// Below it backends are accepted, with a chance that grows with the distance. In parts of a
    /// connection: 256ths, or 4,096ths of a connection of weight 1 where weights count.
    pub floor: u32,
    /// From the least estimate to the level, in the same parts.
    pub span: u32,
}

/// What is known of a row.
#[derive(Clone, Debug, Default)]
pub struct RowCounts<'a> {
    /// Estimate of the connections of each backend on all nodes, and its weight.
    pub backends: &'a [(u32, u16)],
    /// True if weights count.
    pub weighted: bool,
    /// Connections that other nodes open to the Service port in 1,000 s.
    pub rate: u32,
    /// Mean time between two words of the steward.
    pub interval: Duration,
    /// Backends of the Service port, in this row or not.
    pub of: usize,
    /// Connections of backends that have left it, which are about to come back.
    pub returning: u64,
}

/// The level of a row; none where it is empty.
pub fn level(known: &RowCounts<'_>) -> Option<Filling> {
    let bits = if known.weighted { WEIGHTED_FRACTION } else { CLUSTER_FRACTION };
    let weight = |weight: u16| if known.weighted { u64::from(weight.max(1)) } else { 1 };
    // Estimates by weight, rounded down as in the programs, and what makes them up.
    let scaled = known.backends.iter().map(|(estimate, backend)| {
        let (estimate, weight) = (u64::from((*estimate).min(MOST)), weight(*backend));
        ((estimate << bits) / weight, estimate, weight)
    });
    let mut sorted: Vec<(u64, u64, u64)> = scaled.collect();
    sorted.sort_unstable();
    let least = sorted.first()?.0;
    let mut poured = need(known, bits);
    let mut weights = 0;
    let mut level = 0;
    for (index, (_, estimate, weight)) in sorted.iter().enumerate() {
        poured += estimate << bits;
        weights += weight;
        level = (poured + weights / 2) / weights;
        // The next backend is above the water.
        if sorted.get(index + 1).is_none_or(|(next, ..)| poured <= next * weights) {
            break;
        }
    }
    let floor = level.saturating_sub(1);
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Some(Filling { floor: word(floor), span: word((floor + 1).saturating_sub(least)) })
}

/// Connections to pour: this one and those that others open before they hear of it, or those that
/// are about to come back, where they are more. What comes back is what others open then, and this
/// one is among it: counted twice, it would lead to backends that are full.
fn need(known: &RowCounts<'_>, bits: u32) -> u64 {
    let age = held(known.interval) + WAY;
    let age = age.min(pace::SILENT).as_millis() as u64;
    let (row, of) = (known.backends.len() as u64, known.of.max(known.backends.len()) as u64);
    // Thousandths of an open by thousandths of a second, and hundredths of caution.
    let opened = (u128::from(known.rate) * u128::from(age)) << bits;
    let expected = opened * u128::from(row * CAUTION) / (u128::from(of.max(1)) * 100_000_000);
    let expected = u64::try_from(expected).unwrap_or(u64::MAX).min(HIGHEST);
    // A part of a connection is none: where fewer than one is expected, the choice is exact.
    let expected = expected >> bits << bits;
    ((1 << bits) + expected).max(known.returning.min(HIGHEST) << bits)
}

/// How long a change waits on average until it may be said, on both of its ways, where words come
/// in this interval. They come when something changes: hardly any of those waits that come much
/// more slowly than words may, and the last ones alone are what matters here.
fn held(interval: Duration) -> Duration {
    let interval = interval.max(pace::GAP);
    let share = pace::GAP.as_secs_f64() / interval.as_secs_f64();
    (pace::GAP / 2 + interval / 2).mul_f64(share.powi(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(estimates: &[u32], rate: u32, returning: u64) -> Filling {
        let backends: Vec<_> = estimates.iter().map(|estimate| (*estimate, 1)).collect();
        // 125 + 125 + 25 ms.
        let interval = pace::GAP;
        let of = backends.len();
        let backends = &backends;
        level(&RowCounts { backends, weighted: false, rate, interval, of, returning }).unwrap()
    }

    #[test]
    fn while_nobody_opens_only_the_least_are_accepted() {
        // One connection over k backends with the least: e + 1/k.
        assert_eq!(of(&[3, 5, 4], 0, 0), Filling { floor: 4 * 256 - 1, span: 256 });
        assert_eq!(of(&[3, 5, 3], 0, 0), Filling { floor: 3 * 256 + 128 - 1, span: 128 });
        assert_eq!(of(&[0, 0, 0, 0], 0, 0), Filling { floor: 63, span: 64 });
        assert_eq!(of(&[7], 0, 0), Filling { floor: 8 * 256 - 1, span: 256 });
    }

    #[test]
    fn what_is_expected_is_poured_over_the_lowest() {
        // 8 opens a second, 0.275 s, 1.5: 3 more than one. 4 over 0, 1 and 2: to 7/3.
        assert_eq!(of(&[2, 0, 1, 5], 8_000, 0), Filling { floor: 596, span: 597 });
        // 4 over 0 and 0 and 3: up to 2 before 3 is reached.
        assert_eq!(of(&[0, 3, 0], 8_000, 0), Filling { floor: 511, span: 512 });
    }

    #[test]
    fn what_left_is_about_to_come_back() {
        // 12 over 1, 2, 3: to 6.
        assert_eq!(of(&[1, 2, 3], 0, 12), Filling { floor: 6 * 256 - 1, span: 5 * 256 });
        // All that come back fit into the new one, and none of them is too much.
        assert_eq!(of(&[20, 0, 20], 0, 20), Filling { floor: 20 * 256 - 1, span: 20 * 256 });
        // They are among those that others open.
        assert_eq!(of(&[2, 0, 1, 5], 8_000, 2), of(&[2, 0, 1, 5], 8_000, 0));
    }

    #[test]
    fn changes_that_come_slowly_are_known_before_the_next_one() {
        let of = |interval| {
            let backends = [(1, 1), (1, 1), (1, 1), (1, 1), (0, 1)];
            let interval = Duration::from_millis(interval);
            let known = RowCounts {
                backends: &backends,
                rate: 4_000,
                interval,
                of: 5,
                ..RowCounts::default()
            };
            level(&known).unwrap()
        };
        // Four connections in a second, each told as soon as it came: the one that is left.
        assert_eq!(of(500), Filling { floor: 255, span: 256 });
        // Told as often as may be, the last of them are not known.
        assert_eq!(of(250), Filling { floor: 306, span: 307 });
    }

    #[test]
    fn a_row_has_its_part_of_what_is_expected() {
        let backends = [(0, 1), (0, 1)];
        let interval = Duration::from_millis(200);
        let known =
            RowCounts { backends: &backends, rate: 8_000, interval, of: 4, ..RowCounts::default() };
        // 1 + 3 * 2/4, without parts of a connection, over two: to 1.
        assert_eq!(level(&known), Some(Filling { floor: 255, span: 256 }));
    }

    #[test]
    fn weights_are_the_width_of_what_is_filled() {
        let interval = Duration::from_millis(200);
        // 1 + 3 over widths of 3 and 1 with 3 and 0 in them: (4 + 3) / 4 for each.
        let backends = [(3, 3), (0, 1)];
        let known = RowCounts {
            backends: &backends,
            weighted: true,
            rate: 8_000,
            interval,
            of: 2,
            returning: 0,
        };
        assert_eq!(level(&known), Some(Filling { floor: 7 * 1_024 - 1, span: 7 * 1_024 }));
        // One over the one that is idle: to 1.
        let quiet = RowCounts { rate: 0, ..known };
        assert_eq!(level(&quiet), Some(Filling { floor: 4_095, span: 4_096 }));
    }

    #[test]
    fn nothing_overflows() {
        let backends = vec![(u32::MAX, 1); 2_000];
        let known = RowCounts {
            backends: &backends,
            weighted: true,
            rate: u32::MAX,
            interval: Duration::from_secs(u64::from(u32::MAX)),
            of: 1,
            returning: u64::MAX,
        };
        assert!(level(&known).is_some());
        assert_eq!(level(&RowCounts::default()), None);
    }
}
