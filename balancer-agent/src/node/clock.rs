//! The clock of this process, beside that of the kernel's programs.

use std::{fs, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// Now, by CLOCK_MONOTONIC, which `bpf_ktime_get_ns()` reads too.
pub fn now() -> Duration {
    // Every Linux has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// What CLOCK_MONOTONIC of this process and of those it starts is ahead of the kernel's own, which
/// `bpf_ktime_get_ns()` reads, in nanoseconds. Not 0 only in a time namespace (Linux 5.6,
/// time_namespaces(7)).
pub fn offset_ns() -> i128 {
    // Without time namespaces there is no such file.
    parse(&fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default())
}

/// A line of `timens_offsets` is the name of a clock, seconds and nanoseconds; the latter count up
/// from the former, also where those are negative.
fn parse(offsets: &str) -> i128 {
    let mut words = offsets
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("monotonic"))
        .flat_map(str::split_whitespace)
        .map(|word| word.parse::<i128>().unwrap_or_default());
    let seconds = words.next().unwrap_or_default();
    seconds * 1_000_000_000 + words.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_that_of_the_monotonic_clock() {
        for (text, want) in [
            ("monotonic           0         0\nboottime            0         0\n", 0),
            (
                "monotonic       36000         0\nboottime            0         0\n",
                36_000_000_000_000,
            ),
            ("boottime            7         0\nmonotonic          -2 500000000\n", -1_500_000_000),
            ("", 0),
        ] {
            assert_eq!(parse(text), want, "{text:?}");
        }
        assert_eq!(offset_ns(), 0, "tests run in no time namespace");
    }
}
