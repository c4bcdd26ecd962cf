//! Connections that were ended, and those that could not be.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::moves::tally::{Counts, Fate};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    namespace: String,
    service: String,
    reason: &'static str,
    way: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StayLabels {
    namespace: String,
    service: String,
    reason: &'static str,
    why: &'static str,
}

/// Adds them to what a scrape shows.
pub(super) fn register(counts: Counts, registry: &mut Registry) {
    let ended = Family::<EndLabels, Counter>::default();
    let stayed = Family::<StayLabels, Counter>::default();
    for ((service, reason, fate), count) in counts {
        let (namespace, service, reason) = (service.namespace, service.name, reason.name());
        if let Fate::Ended(way) = fate {
            let labels = EndLabels { namespace, service, reason, way: way.name() };
            ended.get_or_create(&labels).inc_by(count);
        } else {
            let labels = StayLabels { namespace, service, reason, why: fate.name() };
            stayed.get_or_create(&labels).inc_by(count);
        }
    }
    let help = "Connections ended so that their clients open them again, by reason and way";
    registry.register("connections_ended", help, ended);
    let help = "Connections that were to be ended and could not be, by what was in the way";
    registry.register("connections_not_ended", help, stayed);
}
