//! When connections are moved, where a Service does not say: the annotations, in camelCase.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use thiserror::Error;

use crate::{
    model::Moving,
    settings::moving::{self, Setting, Takes},
};

/// The key `moving` of the configuration file, as it was given: what is written, by the name of the
/// setting in camelCase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MovingSettings(BTreeMap<String, Scalar>);

/// A value that has no meaning.
#[derive(Debug, Error)]
#[error("moving.{key}: {wrong}")]
pub struct MovingError {
    key: String,
    wrong: String,
}

/// A value of YAML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Scalar {
    Flag(bool),
    Count(u32),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(on) => on.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for MovingSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

/// Reads each value as its setting has it.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = MovingSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MovingSettings, A::Error> {
        let mut found = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let Some(setting) = moving::ALL.iter().find(|setting| setting.key() == key) else {
                let known = moving::ALL.map(|setting| format!("`{}`", setting.key())).join(", ");
                let message = format!("unknown field `{key}`, expected one of {known}");
                return Err(A::Error::custom(message));
            };
            // Null sets nothing.
            let value = match setting.takes {
                Takes::Flag(_) => map.next_value::<Option<_>>()?.map(Scalar::Flag),
                Takes::Count { .. } => map.next_value::<Option<_>>()?.map(Scalar::Count),
                Takes::Time { .. } => map.next_value::<Option<_>>()?.map(Scalar::Text),
            };
            if let Some(value) = value
                && found.insert(key.clone(), value).is_some()
            {
                return Err(A::Error::custom(format!("duplicate field `{key}`")));
            }
        }
        Ok(MovingSettings(found))
    }
}

impl MovingSettings {
    /// Checks everything and fills the gaps.
    pub fn resolve(&self) -> Result<Moving, MovingError> {
        let mut found = Moving::default();
        for setting in moving::ALL {
            let key = setting.key();
            if let Some(value) = self.0.get(&key) {
                setting
                    .take(&mut found, &value.to_string())
                    .map_err(|wrong| MovingError { key, wrong })?;
            }
        }
        if let Some((name, wrong)) = moving::contradiction(&found) {
            let key = Setting::named(name).map_or_else(|| name.to_owned(), Setting::key);
            return Err(MovingError { key, wrong });
        }
        Ok(found.or(Moving::DEFAULT))
    }
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
            ("{idle: 1h}", "unknown field `idle`, expected one of `rebalance`, "),
        ] {
            let told = read(yaml).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        for yaml in [
            "{rebalance: [true]}",
            "{rebalance: 1h}",
            "{rebalanceBudget: many}",
            "{idleTimeout: [1h]}",
        ] {
            let told = read(yaml).expect_err(yaml);
            assert!(!told.starts_with("moving."), "{yaml} is not read at all: {told}");
        }
        assert_eq!(read("{idleTimeout: null}"), Ok(Moving::DEFAULT), "null sets nothing");
    }
}
