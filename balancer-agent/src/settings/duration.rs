//! Durations as Kubernetes and Go write them: `30s`, `1m30s`, `1.5h`, `500ms`.

use std::time::Duration;

/// Units and their nanoseconds. Go writes micro with either of two letters.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The duration; none where the text is no duration, or one below nothing.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanos = 0_u128;
    loop {
        let number = take(&mut rest, |c| c.is_ascii_digit() || c == '.');
        let unit = take(&mut rest, char::is_alphabetic);
        nanos = nanos.checked_add(part(number, unit)?)?;
        if rest.is_empty() {
            break;
        }
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// Cuts off what comes first, as long as it belongs together.
fn take<'a>(rest: &mut &'a str, belongs: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

/// Nanoseconds of a number and its unit; what is less than one is dropped.
fn part(number: &str, unit: &str) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (_, per_unit) = *UNITS.iter().find(|(name, _)| *name == unit)?;
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    // More digits than these are less than a nanosecond of any unit that is left.
    let fraction = if fraction.len() > 15 { &fraction[..15] } else { fraction };
    let fraction_nanos =
        u128::from(digits(fraction)?) * per_unit / 10_u128.pow(fraction.len() as u32);
    u128::from(digits(whole)?).checked_mul(per_unit)?.checked_add(fraction_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        let table: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("0s", Some(0)),
            ("30s", Some(30_000_000_000)),
            ("+30s", Some(30_000_000_000)),
            ("2m", Some(120_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1h", Some(3_600_000_000_000)),
            ("1h15m30.918s", Some(4_530_918_000_000)),
            ("500ms", Some(500_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("5us", Some(5_000)),
            ("5µs", Some(5_000)),
            ("12ns", Some(12)),
            ("0.1ns", Some(0)),
            ("0s1s", Some(1_000_000_000)),
            ("", None),
            ("+", None),
            ("5", None),
            ("s", None),
            (".s", None),
            ("-1s", None),
            ("1 s", None),
            (" 1s", None),
            ("1d", None),
            ("1S", None),
            ("banana", None),
            ("1s-", None),
            ("1s5", None),
            ("1..5s", None),
            ("1e3s", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ];
        for (text, nanos) in table {
            assert_eq!(parse(text), nanos.map(Duration::from_nanos), "{text:?}");
        }
    }
}
