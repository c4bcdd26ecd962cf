//! What a scenario came to, on one side.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use balancer_lab::http::Report;
use serde::Serialize;

/// The sides of a comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Balancer {
    /// kube-proxy's rules.
    Iptables,
    /// The agent's programs, by what each node counts alone.
    LeastConnections,
    /// The same by what the nodes have told each other.
    ClusterLeastConnections,
}

impl Balancer {
    /// The sides, where all pods are on one node.
    pub(super) const ONE_NODE: [Self; 2] = [Self::Iptables, Self::LeastConnections];
    /// The sides, where they are on several.
    pub(super) const SEVERAL_NODES: [Self; 3] =
        [Self::Iptables, Self::LeastConnections, Self::ClusterLeastConnections];

    /// What it is called above its figures.
    pub(super) fn title(self, several_nodes: bool) -> &'static str {
        match self {
            Self::Iptables => "kube-proxy (iptables)",
            Self::LeastConnections if several_nodes => "balancer (each node alone)",
            Self::LeastConnections => "balancer (least connections)",
            Self::ClusterLeastConnections => "balancer (whole cluster)",
        }
    }

    /// The same in a word or two.
    pub(super) fn short(self, several_nodes: bool) -> &'static str {
        match self {
            Self::Iptables => "kube-proxy",
            Self::LeastConnections if several_nodes => "node alone",
            Self::LeastConnections => "balancer",
            Self::ClusterLeastConnections => "cluster",
        }
    }

    /// The class of its bars in the HTML report.
    pub(super) fn class(self, several_nodes: bool) -> &'static str {
        match self {
            Self::Iptables => "random",
            Self::LeastConnections if several_nodes => "alone",
            Self::LeastConnections | Self::ClusterLeastConnections => "least",
        }
    }
}

/// One line of the JSON output.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) balancer: Balancer,
    pub(super) connections: BTreeMap<String, u64>,
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) idle_backends: usize,
    pub(super) max_over_mean: f64,
    pub(super) requests_per_second: f64,
}

impl Outcome {
    /// Counts a report over all backends there are: one without connections is the point.
    pub(super) fn new(
        name: String,
        balancer: Balancer,
        backends: &[String],
        report: &Report,
    ) -> Result<Self> {
        if let Some(error) = &report.first_error {
            bail!("{name}, {balancer:?}: {} requests failed, the first: {error}", report.errors);
        }
        let counts = |of: fn(&balancer_lab::http::Count) -> u64| -> BTreeMap<String, u64> {
            let count = |name: &String| report.backends.get(name).map_or(0, of);
            backends.iter().map(|name| (name.clone(), count(name))).collect()
        };
        let connections = counts(|count| count.connections);
        let mean = report.connections() as f64 / backends.len() as f64;
        let most = connections.values().copied().max().unwrap_or(0) as f64;
        Ok(Self {
            name,
            balancer,
            idle_backends: connections.values().filter(|&&count| count == 0).count(),
            max_over_mean: rounded(most / mean, 100.0),
            requests_per_second: rounded(report.requests() as f64 / report.seconds, 10.0),
            requests: counts(|count| count.requests),
            connections,
        })
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

/// A scenario on all sides, kube-proxy's first.
pub(super) struct Comparison {
    pub(super) name: String,
    pub(super) description: String,
    /// Whether its pods are on several nodes.
    pub(super) several_nodes: bool,
    pub(super) sides: Vec<Outcome>,
}

impl Comparison {
    /// The most that any backend has on any side: the end of the scale that all share.
    pub(super) fn most(&self, counts: fn(&Outcome) -> &BTreeMap<String, u64>) -> u64 {
        let all = self.sides.iter().flat_map(|side| counts(side).values());
        all.copied().max().unwrap_or(0).max(1)
    }

    /// The names of the backends.
    pub(super) fn backends(&self) -> impl Iterator<Item = &String> {
        self.sides.iter().take(1).flat_map(|side| side.connections.keys())
    }
}

#[cfg(test)]
mod tests {
    use balancer_lab::http::Count;

    use super::*;

    #[test]
    fn backends_without_connections_are_counted() {
        let report = Report {
            backends: [("a".to_owned(), Count { connections: 3, requests: 30 })].into(),
            seconds: 2.0,
            ..Report::default()
        };
        let backends = ["a", "b", "c"].map(str::to_owned);
        let outcome =
            Outcome::new("x".into(), Balancer::Iptables, &backends, &report).expect("no errors");
        assert_eq!(
            serde_json::to_value(&outcome).expect("json"),
            serde_json::json!({
                "name": "x", "balancer": "iptables",
                "connections": {"a": 3, "b": 0, "c": 0}, "requests": {"a": 30, "b": 0, "c": 0},
                "idle_backends": 2, "max_over_mean": 3.0, "requests_per_second": 15.0,
            })
        );
    }

    #[test]
    fn failed_requests_are_no_outcome() {
        let report = Report { errors: 1, first_error: Some("reset".into()), ..Report::default() };
        let error = Outcome::new("x".into(), Balancer::Iptables, &[], &report).expect_err("failed");
        assert!(error.to_string().contains("reset"), "{error}");
    }
}
