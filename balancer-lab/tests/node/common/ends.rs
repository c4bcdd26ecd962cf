//! Connections that an agent has ended, and those that it has not, as its metrics tell.

use super::Web;

/// How often connections were ended for a reason, as the metrics of the agent tell.
pub fn ended(web: &Web, reason: &str, way: &str) -> u64 {
    let metrics = web.agent.metrics().expect("metrics");
    let labels = format!("reason=\"{reason}\",way=\"{way}\"}} ");
    let of = |line: &str| {
        let count = line.strip_prefix("balancer_connections_ended_total{")?.split_once(&labels)?.1;
        count.parse::<u64>().ok()
    };
    metrics.lines().filter_map(of).sum()
}

/// How often connections were not ended, and why.
pub fn not_ended(web: &Web, reason: &str, why: &str) -> u64 {
    let metrics = web.agent.metrics().expect("metrics");
    let labels = format!("reason=\"{reason}\",why=\"{why}\"}} ");
    let of = |line: &str| {
        let count = line.strip_prefix("balancer_connections_not_ended_total{")?;
        count.split_once(&labels)?.1.parse::<u64>().ok()
    };
    metrics.lines().filter_map(of).sum()
}

/// What an agent has ended and what not, and its log: for tests that wait in vain.
pub fn told(web: &Web) -> String {
    let metrics = web.agent.metrics().expect("metrics");
    let ends = metrics.lines().filter(|line| line.contains("ended_total{"));
    let log = web.agent.log().unwrap_or_default();
    ends.chain(["log of the agent:", &log]).collect::<Vec<_>>().join("\n")
}
