//! When connections are moved, where a Service does not say: the annotations, in camelCase.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::{model::Moving, settings::moving};

/// The key `moving` of the configuration file, as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MovingSettings {
    /// `idleTimeout`.
    pub idle_timeout: Option<String>,
    /// `maxConnectionAge`.
    pub max_connection_age: Option<String>,
    /// `maxConnectionAgeJitter`.
    pub max_connection_age_jitter: Option<String>,
    /// `rebalance`.
    pub rebalance: Option<bool>,
    /// `rebalanceBudget`.
    pub rebalance_budget: Option<u32>,
    /// `drainTimeout`.
    pub drain_timeout: Option<String>,
    /// `staleTimeout`.
    pub stale_timeout: Option<String>,
    /// `quietTime`.
    pub quiet_time: Option<String>,
    /// `resetAfter`.
    pub reset_after: Option<String>,
}

impl MovingSettings {
    /// Checks everything and fills the gaps.
    pub fn resolve(self) -> Result<Moving, ConfigError> {
        let mut found = Moving::default();
        let given = [
            ("idle-timeout", self.idle_timeout),
            ("max-connection-age", self.max_connection_age),
            ("max-connection-age-jitter", self.max_connection_age_jitter),
            ("rebalance", self.rebalance.map(|on| on.to_string())),
            ("rebalance-budget", self.rebalance_budget.map(|budget| budget.to_string())),
            ("drain-timeout", self.drain_timeout),
            ("stale-timeout", self.stale_timeout),
            ("quiet-time", self.quiet_time),
            ("reset-after", self.reset_after),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                moving::take(&mut found, name, &value)
                    .map_err(|wrong| ConfigError::Moving { key: camel_case(name), wrong })?;
            }
        }
        match moving::contradiction(&found) {
            Some((name, wrong)) => Err(ConfigError::Moving { key: camel_case(name), wrong }),
            None => Ok(found.or(Moving::DEFAULT)),
        }
    }
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        let (head, tail) = part.split_at(1);
        all + &head.to_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(yaml: &str) -> Result<Moving, String> {
        let settings: MovingSettings =
            serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        settings.resolve().map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_the_annotations_in_camel_case() {
        let read = read("{maxConnectionAge: 1h, rebalance: true, rebalanceBudget: 5}").unwrap();
        let want = Moving {
            max_age: Some(Duration::from_secs(3_600)),
            rebalance: Some(true),
            rebalance_budget: Some(5),
            ..Moving::DEFAULT
        };
        assert_eq!(read, want);
    }

    #[test]
    fn bad_values_name_their_key() {
        for (yaml, words) in [
            ("{maxConnectionAge: banana}", "moving.maxConnectionAge: \"banana\" is no duration"),
            ("{rebalanceBudget: 0}", "moving.rebalanceBudget: \"0\" is no whole number from 1"),
            (
                "{idleTimeout: 1h, maxConnectionAge: 1m}",
                "moving.idleTimeout: max-connection-age is",
            ),
            ("{idle: 1h}", "unknown field `idle`"),
        ] {
            let told = read(yaml).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }
}
