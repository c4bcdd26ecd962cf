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
struct PermitLabels {
    namespace: String,
    service: String,
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
    let permitted = Family::<PermitLabels, Counter>::default();
    let stayed = Family::<StayLabels, Counter>::default();
    for ((service, reason, fate), count) in counts {
        let (namespace, service, reason) = (service.namespace, service.name, reason.name());
        match fate {
            Fate::Ended(way) => {
                let labels = EndLabels { namespace, service, reason, way: way.name() };
                ended.get_or_create(&labels).inc_by(count);
            }
            Fate::Permitted => {
                permitted.get_or_create(&PermitLabels { namespace, service }).inc_by(count);
            }
            _ => {
                let labels = StayLabels { namespace, service, reason, why: fate.name() };
                stayed.get_or_create(&labels).inc_by(count);
            }
        }
    }
    let help = "Connections ended so that their clients open them again, by reason and way";
    registry.register("connections_ended", help, ended);
    let help = "Those of them that another node, or this one, has permitted for the whole cluster";
    registry.register("connections_permitted", help, permitted);
    let help = "Connections that were to be ended and could not be, by what was in the way";
    registry.register("connections_not_ended", help, stayed);
}
