//! What other tools have changed in the maps.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    map: &'static str,
}

/// Entries of maps that were put back, by map. Clones share what was counted.
#[derive(Clone, Debug, Default)]
pub struct Mended(Family<Labels, Counter>);

impl Mended {
    /// Counts entries of a map.
    pub fn add(&self, map: &'static str, entries: u64) {
        self.0.get_or_create(&Labels { map }).inc_by(entries);
    }

    /// Has a registry show it.
    pub fn register(self, registry: &mut Registry) {
        registry.register(
            "map_entries_mended",
            "Entries of maps that others had changed and that were put back",
            self.0,
        );
    }
}
