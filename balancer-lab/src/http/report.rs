//! What a client counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of one backend, as the client saw them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Count {
    /// Distinct connections that carried requests.
    pub connections: u64,
    /// Requests answered.
    pub requests: u64,
}

/// What a client counted, by backend.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    /// The backends that answered.
    pub backends: BTreeMap<String, Count>,
    /// Requests that failed.
    pub errors: u64,
    /// The first failure.
    pub first_error: Option<String>,
    /// Seconds after the start at which requests failed.
    #[serde(default)]
    pub failed_at: Vec<f64>,
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
}

impl Report {
    /// Requests answered by all backends.
    pub fn requests(&self) -> u64 {
        self.backends.values().map(|count| count.requests).sum()
    }

    /// Connections to all backends.
    pub fn connections(&self) -> u64 {
        self.backends.values().map(|count| count.connections).sum()
    }

    /// The number of connections on each backend that has any, largest first.
    pub fn spread(&self) -> Vec<u64> {
        let mut spread: Vec<u64> = self.backends.values().map(|count| count.connections).collect();
        spread.sort_unstable_by(|a, b| b.cmp(a));
        spread
    }

    /// Adds the counts of a client that ran at the same time, on connections of its own.
    pub fn merge(&mut self, other: Self) {
        for (name, count) in other.backends {
            let sum = self.backends.entry(name).or_default();
            sum.connections += count.connections;
            sum.requests += count.requests;
        }
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.failed_at.extend(other.failed_at);
        self.seconds = self.seconds.max(other.seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_clients_add_up() {
        let one = |name: &str, seconds| Report {
            backends: [(name.to_owned(), Count { connections: 1, requests: 10 })].into(),
            errors: 1,
            first_error: Some(name.into()),
            failed_at: vec![seconds],
            seconds,
        };
        let mut sum = one("a", 1.0);
        sum.merge(one("a", 2.0));
        sum.merge(one("b", 0.5));
        assert_eq!((sum.requests(), sum.connections(), sum.errors), (30, 3, 3));
        assert_eq!((sum.spread(), sum.seconds), (vec![2, 1], 2.0));
        assert_eq!(sum.first_error.as_deref(), Some("a"));
        assert_eq!(sum.failed_at, [1.0, 2.0, 0.5]);
    }
}
