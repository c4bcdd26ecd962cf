//! How long a change takes until the maps have it.

use std::time::SystemTime;

use prometheus_client::{
    metrics::histogram::Histogram,
    registry::{Registry, Unit},
};

/// From milliseconds, which this agent takes, to the minutes of a control plane in distress.
const BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The time from a change of endpoints, as the API server's controllers note it, until it was
/// written. Clones share what was measured.
#[derive(Clone, Debug)]
pub struct Programming(Histogram);

impl Default for Programming {
    fn default() -> Self {
        Self::with(BOUNDS)
    }
}

impl Programming {
    /// In buckets up to these bounds, in seconds.
    pub fn with(bounds: impl IntoIterator<Item = f64>) -> Self {
        Self(Histogram::new(bounds))
    }

    /// Counts changes that are written now. Where the clock of this node is behind, 0 is counted.
    pub fn written(&self, triggers: &[SystemTime]) {
        let now = SystemTime::now();
        for at in triggers {
            self.0.observe(now.duration_since(*at).unwrap_or_default().as_secs_f64());
        }
    }

    /// Has a registry show it.
    pub fn register(self, registry: &mut Registry) {
        registry.register_with_unit(
            "network_programming_duration",
            "Time from a change of endpoints until the maps have it",
            Unit::Seconds,
            self.0,
        );
    }
}
