//! When connections are moved, as it is written: in annotations of a Service, and in the
//! configuration, by the same names and with the same values. One table for all of them.

use std::{ops::RangeInclusive, time::Duration};

use super::{duration, quoted};
use crate::model::Moving;

/// A setting: a row of the table that annotations, configuration, values of the chart and docs follow.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in annotations; in camelCase its key in the configuration.
    pub name: &'static str,
    /// What may be written.
    pub takes: Takes,
}

/// What a setting may be, and where it stands.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// `true` or `false`.
    Flag(fn(&mut Moving) -> &mut Option<bool>),
    /// A whole number from `least` to `most`.
    Count {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
        /// What it counts, and what to write instead of 0.
        about: &'static str,
        /// Where it stands.
        field: fn(&mut Moving) -> &mut Option<u32>,
    },
    /// A time from `least` to `most`, or `off` where that is possible.
    Time {
        /// The least.
        least: Duration,
        /// The most.
        most: Duration,
        /// Why it can't be off; none where it can.
        never_off: Option<&'static str>,
        /// Where it stands.
        field: fn(&mut Moving) -> &mut Option<Duration>,
    },
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Every setting.
pub const ALL: [Setting; 9] = [
    Setting { name: "rebalance", takes: Takes::Flag(|moving| &mut moving.rebalance) },
    Setting {
        name: "rebalance-budget",
        takes: Takes::Count {
            least: 1,
            most: 100_000,
            about: "which would be moves a minute; to turn moves off, write rebalance: \"false\"",
            field: |moving| &mut moving.rebalance_budget,
        },
    },
    time("idle-timeout", SECOND, MONTH, |moving| &mut moving.idle_timeout),
    time("max-connection-age", SECOND, MONTH, |moving| &mut moving.max_age),
    time("max-connection-age-jitter", SECOND, MONTH, |moving| &mut moving.max_age_jitter),
    time("drain-timeout", SECOND, HOUR, |moving| &mut moving.drain_timeout),
    time("stale-timeout", SECOND, DAY, |moving| &mut moving.stale_timeout),
    Setting {
        name: "quiet-time",
        takes: Takes::Time {
            least: Duration::from_millis(10),
            most: HOUR,
            never_off: Some(
                "it can't be off: nobody can tell what is under way without it; write one such as \
                 100ms",
            ),
            field: |moving| &mut moving.quiet_time,
        },
    },
    time("reset-after", SECOND, HOUR, |moving| &mut moving.reset_after),
];

const fn time(
    name: &'static str,
    least: Duration,
    most: Duration,
    field: fn(&mut Moving) -> &mut Option<Duration>,
) -> Setting {
    Setting { name, takes: Takes::Time { least, most, never_off: None, field } }
}

impl Setting {
    /// The setting of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|setting| setting.name == name)
    }

    /// Its key in the configuration: its name in camelCase.
    pub fn key(&self) -> String {
        let mut parts = self.name.split('-');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| {
            let (head, tail) = part.split_at(1);
            all + &head.to_uppercase() + tail
        })
    }

    /// Takes a value; or says what is wrong with it, and how it would be right.
    pub fn take(&self, moving: &mut Moving, value: &str) -> Result<(), String> {
        let shown = quoted(value);
        match self.takes {
            Takes::Flag(field) => {
                *field(moving) = Some(match value {
                    "true" => true,
                    "false" | "off" => false,
                    _ => return Err(format!("{shown} is neither \"true\" nor \"false\"")),
                });
            }
            Takes::Count { least, most, about, field } => {
                let count = value.parse().ok().filter(|count| (least..=most).contains(count));
                let wrong =
                    || format!("{shown} is no whole number from {least} to {most}, {about}");
                *field(moving) = Some(count.ok_or_else(wrong)?);
            }
            Takes::Time { least, most, never_off, field } => {
                let time = parse(value, least..=most)?;
                if let Some(why) = never_off.filter(|_| time.is_zero()) {
                    return Err(why.to_owned());
                }
                *field(moving) = Some(time);
            }
        }
        Ok(())
    }

    /// What is written where it has its value of `moving`; none where that says nothing.
    pub fn written(&self, mut moving: Moving) -> Option<String> {
        match self.takes {
            Takes::Flag(field) => field(&mut moving).map(|on| on.to_string()),
            Takes::Count { field, .. } => field(&mut moving).map(|count| count.to_string()),
            Takes::Time { field, .. } => field(&mut moving)
                .map(|time| if time.is_zero() { "off".to_owned() } else { short(time) }),
        }
    }
}

/// A time over which a backend is drained.
pub fn drain_timeout(value: &str) -> Result<Duration, String> {
    match duration::parse(value) {
        Some(found) if (SECOND..=HOUR).contains(&found) => Ok(found),
        _ => Err("give a time from 1s to 1h, such as 30s or 10m".to_owned()),
    }
}

/// A time within its range, or zero for `off`.
fn parse(value: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
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
        let setting = Setting::named(name).expect("a setting");
        setting.take(&mut moving, value).map(|()| moving)
    }

    #[test]
    fn each_setting_has_a_place_of_its_own() {
        for setting in ALL {
            let value = match setting.takes {
                Takes::Flag(_) => "true",
                Takes::Count { .. } => "30",
                Takes::Time { .. } => "90s",
            };
            let moving = read(setting.name, value).expect(setting.name);
            for other in ALL {
                let want = (other.name == setting.name).then(|| value.to_owned());
                assert_eq!(other.written(moving), want, "{} after {}", other.name, setting.name);
            }
        }
    }

    #[test]
    fn what_is_unknown_is_no_setting() {
        for name in ["", "reset", "reset-After", "rebalance-", "policy"] {
            assert!(Setting::named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_default_can_be_written() {
        for setting in ALL {
            let Some(text) = setting.written(Moving::DEFAULT) else {
                assert_eq!(setting.name, "quiet-time", "which depends on the Service port");
                continue;
            };
            let moving = read(setting.name, &text).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert_eq!(setting.written(moving), Some(text), "{}", setting.name);
        }
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
