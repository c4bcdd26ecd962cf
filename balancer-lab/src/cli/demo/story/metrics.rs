//! What the metrics of an agent tell of a story.

/// How many connections were ended, for whatever reason and in whatever way.
pub(super) fn ended(metrics: &str) -> u64 {
    let count = |line: &str| {
        let labelled = line.strip_prefix("balancer_connections_ended_total{")?;
        labelled.rsplit_once("} ")?.1.parse::<u64>().ok()
    };
    metrics.lines().filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_all_reasons_are_added() {
        let metrics = "# TYPE balancer_connections_ended_total counter\n\
            balancer_connections_ended_total{reason=\"rebalance\",way=\"gentle\"} 13\n\
            balancer_connections_ended_total{reason=\"drain\",way=\"reset\"} 2\n\
            balancer_connections_not_ended_total{reason=\"drain\",why=\"busy\"} 7\n";
        assert_eq!(ended(metrics), 15);
    }
}
