//! Connections that an agent has ended, and those that it has not, as its metrics tell.

use balancer_lab::exposition;

use super::Web;

/// How often connections were ended for a reason, as the metrics of the agent tell.
pub fn ended(web: &Web, reason: &str, way: &str) -> u64 {
    let metrics = web.agent.metrics().expect("metrics");
    exposition::ended(&metrics, &[("reason", reason), ("way", way)])
}

/// How often connections were not ended, and why.
pub fn not_ended(web: &Web, reason: &str, why: &str) -> u64 {
    let metrics = web.agent.metrics().expect("metrics");
    let labels = [("reason", reason), ("why", why)];
    exposition::sum(&metrics, "balancer_connections_not_ended_total", &labels)
}

/// What an agent has ended and what not, and its log: for tests that wait in vain.
pub fn told(web: &Web) -> String {
    let metrics = web.agent.metrics().expect("metrics");
    let ends = metrics.lines().filter(|line| line.contains("ended_total{"));
    let log = web.agent.log().unwrap_or_default();
    ends.chain(["log of the agent:", &log]).collect::<Vec<_>>().join("\n")
}
