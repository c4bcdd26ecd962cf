//! When connections are moved, as it is written: in annotations of a Service, and in the
//! configuration, by the same names and with the same values.

use std::{ops::RangeInclusive, time::Duration};

use super::{duration, quoted};
use crate::model::Moving;

/// Every name.
pub const NAMES: [&str; 9] = [
    "idle-timeout",
    "max-connection-age",
    "max-connection-age-jitter",
    "rebalance",
    "rebalance-budget",
    "drain-timeout",
    "stale-timeout",
    "quiet-time",
    "reset-after",
];

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Moves a minute that a budget may allow.
const BUDGETS: RangeInclusive<u32> = 1..=100_000;

/// Takes a value by its name, one of [`NAMES`]; or says what is wrong with it, and how it would be
/// right.
pub fn take(moving: &mut Moving, name: &str, value: &str) -> Result<(), String> {
    match name {
        "rebalance" => {
            moving.rebalance = Some(match value {
                "true" => true,
                "false" | "off" => false,
                _ => {
                    return Err(format!(
                        "{value} is neither \"true\" nor \"false\"",
                        value = quoted(value)
                    ));
                }
            });
        }
        "rebalance-budget" => {
            let budget = value.parse().ok().filter(|budget| BUDGETS.contains(budget));
            let wrong = || {
                format!(
                    "{value} is no whole number from {} to {}, which would be moves a minute; to \
                     turn moves off, write rebalance: \"false\"",
                    BUDGETS.start(),
                    BUDGETS.end(),
                    value = quoted(value),
                )
            };
            moving.rebalance_budget = Some(budget.ok_or_else(wrong)?);
        }
        "idle-timeout" => moving.idle_timeout = Some(time(value, SECOND..=30 * DAY)?),
        "max-connection-age" => moving.max_age = Some(time(value, SECOND..=30 * DAY)?),
        "max-connection-age-jitter" => {
            moving.max_age_jitter = Some(time(value, SECOND..=30 * DAY)?);
        }
        "drain-timeout" => moving.drain_timeout = Some(time(value, SECOND..=HOUR)?),
        "stale-timeout" => moving.stale_timeout = Some(time(value, SECOND..=DAY)?),
        "quiet-time" => {
            let least = Duration::from_millis(10);
            let quiet = time(value, least..=HOUR)?;
            if quiet.is_zero() {
                return Err(
                    "it can't be off: nobody can tell what is under way without it; write \
                            one such as 100ms"
                        .to_owned(),
                );
            }
            moving.quiet_time = Some(quiet);
        }
        _ => moving.reset_after = Some(time(value, SECOND..=HOUR)?),
    }
    Ok(())
}

/// A time over which a backend is drained.
pub fn drain_timeout(value: &str) -> Result<Duration, String> {
    match duration::parse(value) {
        Some(found) if (SECOND..=HOUR).contains(&found) => Ok(found),
        _ => Err("give a time from 1s to 1h, such as 30s or 10m".to_owned()),
    }
}

/// A time within its range, or zero for `off`.
fn time(value: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let wrong = match duration::parse(value) {
        _ if value == "off" => return Ok(Duration::ZERO),
        Some(found) if range.contains(&found) => return Ok(found),
        Some(_) => format!("is not between {} and {}", short(*range.start()), short(*range.end())),
        None => "is no duration".to_owned(),
    };
    Err(format!("{value} {wrong}; write one such as 30s or 10m, or off", value = quoted(value)))
}

/// A time in the largest unit that it is whole in.
fn short(time: Duration) -> String {
    let millis = time.as_millis();
    match millis {
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// What stands in the way of what is written, if something does: the name that has no effect, and
/// why.
pub fn contradiction(moving: &Moving) -> Option<(&'static str, String)> {
    let (idle, age) = (moving.idle_timeout?, moving.max_age?);
    if idle.is_zero() || age.is_zero() || age >= idle {
        return None;
    }
    let why = "max-connection-age is shorter and always comes first: this has no effect; make it the \
               shorter of both, or remove it";
    Some(("idle-timeout", why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Moving, String> {
        let mut moving = Moving::default();
        take(&mut moving, name, value).map(|()| moving)
    }

    #[test]
    fn every_name_is_taken() {
        let mut moving = Moving::default();
        for name in NAMES {
            let value = match name {
                "rebalance" => "true",
                "rebalance-budget" => "30",
                _ => "90s",
            };
            assert_eq!(take(&mut moving, name, value), Ok(()), "{name}");
        }
        let time = Some(Duration::from_secs(90));
        let want = Moving {
            idle_timeout: time,
            max_age: time,
            max_age_jitter: time,
            rebalance: Some(true),
            rebalance_budget: Some(30),
            drain_timeout: time,
            stale_timeout: time,
            quiet_time: time,
            reset_after: time,
        };
        assert_eq!(moving, want);
    }

    #[test]
    fn off_is_a_value() {
        assert_eq!(read("idle-timeout", "off").unwrap().idle_timeout, Some(Duration::ZERO));
        assert_eq!(read("rebalance", "off").unwrap().rebalance, Some(false));
        assert!(read("quiet-time", "off").unwrap_err().contains("can't be off"));
    }

    #[test]
    fn bad_values_are_told_with_a_remedy() {
        for (name, value, words) in [
            ("idle-timeout", "5", "\"5\" is no duration; write one such as 30s"),
            ("idle-timeout", "-1s", "\"-1s\" is no duration"),
            ("max-connection-age", "banana", "\"banana\" is no duration"),
            ("max-connection-age", "0", "\"0\" is not between 1s and 720h"),
            ("drain-timeout", "2h", "\"2h\" is not between 1s and 1h"),
            ("quiet-time", "1ms", "\"1ms\" is not between 10ms and 1h"),
            ("rebalance-budget", "0", "\"0\" is no whole number from 1 to 100000"),
            ("rebalance-budget", "-3", "is no whole number"),
            ("rebalance-budget", "1.5", "is no whole number"),
            ("rebalance", "yes", "\"yes\" is neither \"true\" nor \"false\""),
            ("reset-after", "", "\"\" is no duration"),
        ] {
            let told = read(name, value).unwrap_err();
            assert!(told.contains(words), "{name}: {told}");
        }
    }

    #[test]
    fn an_age_below_the_idle_timeout_is_told() {
        let moving = |idle, age| Moving {
            idle_timeout: Some(Duration::from_secs(idle)),
            max_age: Some(Duration::from_secs(age)),
            ..Moving::default()
        };
        assert_eq!(contradiction(&moving(60, 30)).unwrap().0, "idle-timeout");
        for fine in [moving(60, 60), moving(30, 60), moving(0, 60), moving(60, 0)] {
            assert_eq!(contradiction(&fine), None, "{fine:?}");
        }
    }
}
