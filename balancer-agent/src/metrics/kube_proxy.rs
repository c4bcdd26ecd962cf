//! Metrics that kube-proxy has, by its names, where their meaning is the same: dashboards and alerts that
//! were made for it go on. Names, buckets: `pkg/proxy/metrics/metrics.go` of Kubernetes 1.33.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::Programming;

/// What the maps were brought to with one change of the source.
#[derive(Clone, Copy, Debug)]
pub struct Synced {
    /// How long it took to compute and write.
    pub took: Duration,
    /// Services that had changed.
    pub services: u64,
    /// Services whose endpoints had changed.
    pub endpoints: u64,
    /// True if all of it was written.
    pub complete: bool,
}

/// Changes of a kind.
#[derive(Clone, Debug, Default)]
struct Changes {
    total: Counter,
    pending: Gauge,
}

impl Changes {
    fn add(&self, changes: u64, complete: bool) {
        self.total.inc_by(changes);
        if complete {
            self.pending.set(0);
        } else {
            self.pending.inc_by(i64::try_from(changes).unwrap_or(i64::MAX));
        }
    }
}

/// What kube-proxy would show of this agent's work. Clones share what was measured.
#[derive(Clone, Debug)]
pub struct KubeProxy {
    sync: Histogram,
    last: Gauge<f64, AtomicU64>,
    programming: Programming,
    services: Changes,
    endpoints: Changes,
}

impl Default for KubeProxy {
    fn default() -> Self {
        Self {
            sync: Histogram::new((0..15).map(|power| 0.001 * f64::from(1_u32 << power))),
            last: Gauge::default(),
            programming: Programming::with(programming_buckets()),
            services: Changes::default(),
            endpoints: Changes::default(),
        }
    }
}

/// 0.25 and 0.5, each second to 59, then steps of 5 s to 115 and of 30 s to 300.
fn programming_buckets() -> impl Iterator<Item = f64> {
    let seconds = (1..60).chain((60..120).step_by(5)).chain((120..=300).step_by(30));
    [0.25, 0.5].into_iter().chain(seconds.map(f64::from))
}

impl KubeProxy {
    /// Counts what was written.
    pub fn synced(&self, sync: &Synced) {
        self.sync.observe(sync.took.as_secs_f64());
        self.services.add(sync.services, sync.complete);
        self.endpoints.add(sync.endpoints, sync.complete);
        if sync.complete {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last.set(now.as_secs_f64());
        }
    }

    /// Counts changes that are written now, by when they were triggered.
    pub fn written(&self, triggers: &[SystemTime]) {
        self.programming.written(triggers);
    }

    /// Has a registry without a prefix show it.
    pub fn register(self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kubeproxy");
        self.programming.register(registry);
        let registry = registry.sub_registry_with_prefix("sync_proxy_rules");
        let help = "Time to compute and write what one change of the source asks for";
        registry.register_with_unit("duration", help, Unit::Seconds, self.sync);
        let help = "When the maps last had everything, in seconds since 1970";
        registry.register_with_unit("last_timestamp", help, Unit::Seconds, self.last);
        for (name, changes) in
            [("service_changes", self.services), ("endpoint_changes", self.endpoints)]
        {
            registry.register(
                name,
                "Services that have changed, or their endpoints",
                changes.total,
            );
            let pending = format!("{name}_pending");
            registry.register(pending, "Those that are not written yet", changes.pending);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(measured: &KubeProxy) -> String {
        let mut registry = Registry::default();
        measured.clone().register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text
    }

    #[test]
    fn kube_proxys_names_are_kept() {
        let measured = KubeProxy::default();
        let took = Duration::from_millis(3);
        let sync = Synced { took, services: 2, endpoints: 5, complete: true };
        measured.synced(&sync);
        measured.written(&[SystemTime::now() - Duration::from_secs(2)]);
        let shown = text(&measured);
        for line in [
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.002\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.004\"} 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"16.384\"} 1",
            "kubeproxy_sync_proxy_rules_service_changes_total 2",
            "kubeproxy_sync_proxy_rules_service_changes_pending 0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 5",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"1.0\"} 0",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"300.0\"} 1",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line} is not in {shown}");
        }
        let last = shown.lines().find_map(|line| {
            line.strip_prefix("kubeproxy_sync_proxy_rules_last_timestamp_seconds ")
        });
        assert!(last.and_then(|last| last.parse::<f64>().ok()).is_some_and(|last| last > 1e9));
        assert_eq!(programming_buckets().count(), 80);

        measured.synced(&Synced { complete: false, ..sync });
        let shown = text(&measured);
        assert!(shown.contains("endpoint_changes_pending 5\n"), "{shown}");
        measured.synced(&sync);
        assert!(text(&measured).contains("endpoint_changes_pending 0\n"));
    }
}
