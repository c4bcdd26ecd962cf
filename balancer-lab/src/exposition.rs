//! Reads what an agent serves as metrics (the text format of OpenMetrics 1.0).

/// One series with a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Name of the metric.
    pub name: &'a str,
    labels: &'a str,
    /// Its value.
    pub value: u64,
}

impl<'a> Sample<'a> {
    /// The value of a label that has no comma and no quote.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels
            .split(',')
            .find_map(|found| found.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
    }
}

/// All series that have labels and a whole number.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.split_once('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        Some(Sample { name, labels, value: value.parse().ok()? })
    })
}

/// The sum of a metric over the series that have all of these labels.
pub fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> u64 {
    let wanted = |sample: &Sample<'_>| {
        sample.name == name
            && labels.iter().all(|(label, value)| sample.label(label) == Some(*value))
    };
    samples(text).filter(wanted).map(|sample| sample.value).sum()
}

/// How many connections an agent has ended, where all of these labels are so.
pub fn ended(text: &str, labels: &[(&str, &str)]) -> u64 {
    sum(text, "balancer_connections_ended_total", labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_added_by_their_labels() {
        let text = "# TYPE balancer_connections_ended_total counter\n\
            balancer_connections_ended_total{service=\"web\",reason=\"rebalance\"} 13\n\
            balancer_connections_ended_total{service=\"web-1\",reason=\"drain\"} 2\n\
            balancer_connections_not_ended_total{service=\"web\",reason=\"drain\"} 7\n\
            balancer_problems 1\n";
        assert_eq!(ended(text, &[]), 15);
        assert_eq!(ended(text, &[("service", "web")]), 13);
        assert_eq!(ended(text, &[("service", "web"), ("reason", "drain")]), 0);
        assert_eq!(samples(text).last().map(|last| last.value), Some(7));
    }
}
