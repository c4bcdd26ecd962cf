//! Numbers of `top` as people read them; what is not known is `-`.

use crate::render::human::bytes;

/// What is there, or `-`.
pub fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Something a second, with a digit behind the point where that tells something.
pub fn speed(per_second: Option<f64>) -> String {
    optional(per_second.map(|number| match number {
        0.0 => "0".to_owned(),
        number if number < 0.1 => "<0.1".to_owned(),
        number if number < 10.0 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }))
}

/// A most over a mean.
pub fn ratio(ratio: Option<f64>) -> String {
    optional(ratio.map(|number| format!("{number:.2}")))
}

/// Bytes a second.
pub fn rate(per_second: Option<f64>) -> String {
    optional(per_second.map(|number| bytes(number.round() as u64) + "/s"))
}

/// The last numbers as blocks: the largest is a whole one, and nothing is a blank.
pub fn sparkline(numbers: &[u64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &numbers[numbers.len().saturating_sub(width)..];
    let most = shown.iter().copied().max().unwrap_or_default().max(1);
    let block = |number: &u64| match *number {
        0 => ' ',
        number => BLOCKS[(u128::from(number) * 8).div_ceil(u128::from(most)) as usize - 1],
    };
    shown.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_not_nothing() {
        for (number, want) in [
            (None, "-"),
            (Some(0.0), "0"),
            (Some(0.04), "<0.1"),
            (Some(0.5), "0.5"),
            (Some(9.94), "9.9"),
            (Some(1234.5), "1234"),
        ] {
            assert_eq!(speed(number), want, "{number:?}");
        }
    }

    #[test]
    fn a_trend_shows_the_latest_and_its_largest_as_a_whole_block() {
        assert_eq!(sparkline(&[9, 9, 0, 1, 4, 8], 4), " ▁▄█");
        assert_eq!(sparkline(&[0, 0], 4), "  ");
        assert_eq!(sparkline(&[u64::MAX, 1], 2), "█▁");
        assert_eq!(sparkline(&[], 4), "");
    }
}
