//! What an agent tells of itself for a report of a fault.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::question::Question;

/// Asks what the agent was told, and what it has logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutQuestion {}

impl Question for AboutQuestion {
    const PATH: &'static str = "/v1/about";
    type Answer = AboutView;
}

/// What the agent was told, and what it has logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutView {
    /// Settings that flags and the file of `--config` give, by their keys in that file. Of keys and
    /// tokens they have the names of files alone.
    pub configuration: Map<String, Value>,
    /// The last lines that the agent itself has logged, and none of the libraries in it.
    pub log: Vec<String>,
}

/// Asks for what `/metrics` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsQuestion {}

impl Question for MetricsQuestion {
    const PATH: &'static str = "/v1/metrics";
    type Answer = String;
}
