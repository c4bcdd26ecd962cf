//! What is exchanged with the agents of other nodes, as metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::view::CountsView;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

/// Adds what is exchanged.
pub(super) fn register(counts: &CountsView, registry: &mut Registry) {
    let (members, heard) = (Gauge::<i64>::default(), Gauge::<i64>::default());
    members.set(i64::try_from(counts.members).unwrap_or(i64::MAX));
    heard.set(i64::try_from(counts.nodes).unwrap_or(i64::MAX));
    registry.register("peers", "Nodes that have an agent", members);
    registry.register(
        "peers_heard",
        "Nodes whose connections are counted, this one among them",
        heard,
    );
    if let Some(age_ms) = counts.age_ms {
        let age = Gauge::<f64, AtomicU64>::default();
        age.set(age_ms as f64 / 1_000.0);
        let help = "How old the counts of other nodes are on average";
        registry.register_with_unit("peer_counts_age", help, Unit::Seconds, age);
    }
    let (datagrams, bytes) = (Family::default(), Family::default());
    for (direction, number, size) in [
        ("sent", counts.sent_total, counts.sent_bytes_total),
        ("received", counts.received_total, counts.received_bytes_total),
    ] {
        let labels = DirectionLabels { direction };
        add(&datagrams, &labels, number);
        add(&bytes, &labels, size);
    }
    registry.register(
        "peer_datagrams",
        "Datagrams sent to agents, and believed of them",
        datagrams,
    );
    let help = "Their bytes, without the headers of IP and UDP";
    registry.register("peer_traffic_bytes", help, bytes);
    let rejected = Family::default();
    for found in &counts.rejected {
        add(&rejected, &ReasonLabels { reason: found.name.clone() }, found.total);
    }
    registry.register("peer_rejected", "Datagrams that had no effect, by reason", rejected);
}

fn add<L>(family: &Family<L, Counter>, labels: &L, number: u64)
where
    L: Clone + std::hash::Hash + Eq,
{
    family.get_or_create(labels).inc_by(number);
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::testing;

    #[test]
    fn what_is_exchanged_is_told() {
        let mut registry = Registry::with_prefix("balancer");
        register(&testing::status().counts.expect("counts"), &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            "balancer_peers 7",
            "balancer_peers_heard 7",
            "balancer_peer_counts_age_seconds 0.24",
            "balancer_peer_datagrams_total{direction=\"sent\"} 70",
            "balancer_peer_traffic_bytes_total{direction=\"received\"} 6000",
            "balancer_peer_rejected_total{reason=\"forged\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}
