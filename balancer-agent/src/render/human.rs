//! Numbers as people read them.

/// Seconds as kubectl shows ages: the two largest units.
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{minutes}m{}s", seconds % 60),
        600..10_800 => format!("{minutes}m"),
        10_800..172_800 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// Milliseconds as seconds, with tenths.
pub fn tenths(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        _ => age(ms / 1_000),
    }
}

/// Seconds as annotations give them: every unit that is not zero.
pub(super) fn span(seconds: u32) -> String {
    let units = [(seconds / 3_600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let named = units.into_iter().filter(|(number, _)| *number > 0);
    named.map(|(number, unit)| format!("{number}{unit}")).collect()
}

/// Bytes with the largest unit of which there are ten.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = format!("{bytes}B");
    for (power, unit) in UNITS.iter().enumerate() {
        let part = bytes >> (10 * (power + 1));
        if part < 10 {
            break;
        }
        shown = format!("{part}{unit}");
    }
    shown
}

/// A bar of at most `width` columns, in eighths of a column; something is never drawn as nothing.
pub fn bar(value: u64, max: u64, width: u64) -> String {
    const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if value == 0 || max == 0 {
        return String::new();
    }
    let length = (u128::from(value) * u128::from(width) * 8 / u128::from(max)).max(1);
    let mut bar = "█".repeat((length / 8) as usize);
    if let Some(rest) = ((length % 8) as usize).checked_sub(1) {
        bar.push(EIGHTHS[rest]);
    }
    bar
}

/// Part of a whole in per cent, or `-` of nothing.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        None => "-".to_owned(),
        Some(0) if part > 0 => "<1%".to_owned(),
        Some(percent) => format!("{percent}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_show_two_units() {
        for (seconds, want) in [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (3_599, "59m"),
            (10_860, "3h1m"),
            (200_000, "2d7h"),
        ] {
            assert_eq!(age(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn spans_are_exact() {
        for (seconds, want) in [(1, "1s"), (90, "1m30s"), (10_800, "3h"), (86_399, "23h59m59s")] {
            assert_eq!(span(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn bytes_keep_two_digits() {
        for (number, want) in [
            (0, "0B"),
            (10_239, "10239B"),
            (10_240, "10KiB"),
            (9 << 20, "9216KiB"),
            (10 << 20, "10MiB"),
            (u64::MAX, "16777215TiB"),
        ] {
            assert_eq!(bytes(number), want, "{number}");
        }
    }

    #[test]
    fn bars_grow_in_eighths_and_never_hide_something() {
        for (value, max, want) in
            [(0, 9, ""), (9, 9, "████"), (1, u64::MAX, "▏"), (5, 8, "██▌"), (3, 0, "")]
        {
            assert_eq!(bar(value, max, 4), want, "{value} of {max}");
        }
    }

    #[test]
    fn little_is_not_nothing() {
        for (part, whole, want) in [(0, 9, "0%"), (1, 9_999, "<1%"), (9, 9, "100%"), (0, 0, "-")] {
            assert_eq!(percent(part, whole), want, "{part} of {whole}");
        }
    }
}
