//! Connections that an agent has ended, and those that it has not, as its metrics tell.

use std::time::{Duration, Instant};

use balancer_lab::{exposition, manifests::Service};

use super::{Web, in_use};

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

/// Has connections ended that nobody has used for a second.
pub fn end_what_is_idle(web: &mut Web) {
    let idle = |service: Service| service.annotated("balancer-agent/idle-timeout", "1s");
    web.change(idle, |shown| in_use(shown) == [1, 2]);
}

/// Waits until so many idle connections were ended.
pub fn await_idle_ended(web: &Web, count: u64) {
    let started = Instant::now();
    while ended(web, "idle", "gentle") < count {
        let log = web.agent.log().unwrap_or_default();
        let told = format!("{} ended\nlog of the agent:\n{log}", ended(web, "idle", "gentle"));
        assert!(started.elapsed() < Duration::from_secs(30), "{told}");
    }
}

/// The processes that touch sockets for an agent.
pub fn touching(agent: u32) -> Vec<u32> {
    let path = format!("/proc/{agent}/task");
    let threads = std::fs::read_dir(path).expect("the agent runs").flatten();
    let children = |thread: std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("children")).unwrap_or_default()
    };
    let all: Vec<String> = threads.map(children).collect();
    all.iter().flat_map(|line| line.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}
