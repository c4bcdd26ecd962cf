//! The scenarios: who connects how.

use std::time::Duration;

use balancer_lab::http::{LoadOptions, Pools, Until};
use clap::ValueEnum;
use hyper::Uri;

/// How long clients send.
const DURATION: Duration = Duration::from_millis(1500);
/// Between the starts of clients on different nodes, as a rollout of theirs has them.
const ROLLOUT: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Scenario {
    /// 7 nodes with a client pod of 3 threads each, a pool per thread, one pod after another
    #[value(name = "nodes-7x3")]
    Nodes7x3,
    /// 5 nodes with a client pod of one thread each, one pod after another
    #[value(name = "nodes-5x1")]
    Nodes5x1,
    /// One client, one thread, a connection pool
    #[value(name = "reuse-1")]
    Reuse1,
    /// 5 threads, a pool each
    #[value(name = "pools-5")]
    Pools5,
    /// 5 threads sharing one pool
    #[value(name = "shared-5")]
    Shared5,
    /// 20 threads sharing one pool
    #[value(name = "shared-20")]
    Shared20,
    /// 5 threads, a new connection for every request
    Fresh,
    /// 7 client pods with 3 threads each, a pool per thread
    #[value(name = "pods-7x3")]
    Pods7x3,
    /// 2 client pods, one thread and pool each
    TwoToFive,
}

impl Scenario {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(super) fn description(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().cloned());
        help.map(|help| help.to_string()).unwrap_or_default()
    }

    /// How many nodes it needs, each for a client pod of its own; `None` where all pods are on one.
    pub(super) fn nodes(self) -> Option<usize> {
        match self {
            Self::Nodes7x3 | Self::Nodes5x1 => Some(self.pods()),
            _ => None,
        }
    }

    /// Between the starts of two client pods.
    pub(super) fn stagger(self) -> Duration {
        if self.nodes().is_some() { ROLLOUT } else { Duration::ZERO }
    }

    /// Client pods that take part.
    pub(super) fn pods(self) -> usize {
        match self {
            Self::Nodes7x3 | Self::Pods7x3 => 7,
            Self::Nodes5x1 => 5,
            Self::TwoToFive => 2,
            _ => 1,
        }
    }

    /// What each of the pods does.
    pub(super) fn load(self, uri: Uri) -> LoadOptions {
        let (threads, pools) = match self {
            Self::Reuse1 | Self::TwoToFive | Self::Nodes5x1 => (1, Pools::PerThread),
            Self::Pools5 => (5, Pools::PerThread),
            Self::Shared5 => (5, Pools::Shared),
            Self::Shared20 => (20, Pools::Shared),
            Self::Fresh => (5, Pools::None),
            Self::Pods7x3 | Self::Nodes7x3 => (3, Pools::PerThread),
        };
        LoadOptions::new(uri, threads, pools, Until::Elapsed(DURATION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_manual() {
        let names: Vec<String> = Scenario::value_variants().iter().map(|one| one.name()).collect();
        assert_eq!(
            names,
            [
                "nodes-7x3",
                "nodes-5x1",
                "reuse-1",
                "pools-5",
                "shared-5",
                "shared-20",
                "fresh",
                "pods-7x3",
                "two-to-five"
            ]
        );
        assert!(Scenario::value_variants().iter().all(|one| !one.description().is_empty()));
    }
}
