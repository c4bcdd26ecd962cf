//! When the connections of a Service are moved: its annotations before the configuration, and that
//! before what is built in.

use std::time::Duration;

use crate::model::Moving;

/// When the connections of a Service are moved. `None` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What was quiet for so long is ended.
    pub idle: Option<Duration>,
    /// What is older is ended when it is quiet.
    pub age: Option<Duration>,
    /// Up to so much is added to the age.
    pub jitter: Duration,
    /// Whether connections move to where there are fewer.
    pub rebalance: bool,
    /// How many a minute, for the sake of balance.
    pub budget: u32,
    /// Over which time those of a backend that terminates are ended.
    pub drain: Option<Duration>,
    /// How long after a backend is gone those to it are ended.
    pub stale: Option<Duration>,
    /// How long nothing must have moved where a connection is ended.
    pub quiet: Duration,
    /// How long after it was due what can't be ended gently is reset.
    pub reset_after: Option<Duration>,
}

/// The quiet time where a request and its answer are all there is.
const SHORT_QUIET: Duration = Duration::from_millis(50);
/// The quiet time everywhere else: a transaction, or whatever else hangs on a connection, may pause for
/// as long between two requests.
const LONG_QUIET: Duration = Duration::from_secs(5);

impl Policy {
    /// What annotations say, and the configuration where they say nothing. The quiet time that nobody
    /// says is short for ports of `requests_only`.
    pub fn of(service: Option<&Moving>, cluster: &Moving, requests_only: bool) -> Self {
        let said = service.copied().unwrap_or_default().or(*cluster).or(Moving::DEFAULT);
        let quiet = if requests_only { SHORT_QUIET } else { LONG_QUIET };
        let time = Option::unwrap_or_default;
        let on = |time: Option<Duration>| time.filter(|time| !time.is_zero());
        Self {
            idle: on(said.idle_timeout),
            age: on(said.max_age),
            jitter: time(said.max_age_jitter),
            rebalance: said.rebalance.unwrap_or_default(),
            budget: said.rebalance_budget.unwrap_or_default(),
            drain: on(said.drain_timeout),
            stale: on(said.stale_timeout),
            quiet: said.quiet_time.unwrap_or(quiet),
            reset_after: on(said.reset_after),
        }
    }

    /// True if connections to backends in use are ever ended.
    pub const fn is_active(&self) -> bool {
        self.idle.is_some() || self.age.is_some() || self.rebalance || self.drain.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_off_but_stale() {
        let policy = Policy::of(None, &Moving::default(), false);
        assert!(!policy.is_active());
        assert_eq!((policy.stale, policy.reset_after), (Some(Duration::from_secs(30)), None));
    }

    #[test]
    fn a_service_wins_over_the_cluster_and_may_turn_off() {
        let minute = Duration::from_secs(60);
        let cluster = Moving {
            idle_timeout: Some(minute),
            max_age: Some(2 * minute),
            rebalance: Some(true),
            ..Moving::default()
        };
        let service = Moving {
            idle_timeout: Some(Duration::ZERO),
            rebalance: Some(false),
            stale_timeout: Some(Duration::ZERO),
            ..Moving::default()
        };
        let policy = Policy::of(Some(&service), &cluster, false);
        assert_eq!((policy.idle, policy.age), (None, Some(2 * minute)));
        assert_eq!((policy.rebalance, policy.stale), (false, None));
        assert!(Policy::of(None, &cluster, false).rebalance);
    }

    #[test]
    fn what_is_said_of_the_quiet_time_wins_over_the_protocol() {
        let said = |millis| Moving {
            quiet_time: Some(Duration::from_millis(millis)),
            ..Moving::default()
        };
        for (service, cluster, requests_only, want) in [
            (Moving::default(), Moving::default(), true, 50),
            (Moving::default(), Moving::default(), false, 5_000),
            (Moving::default(), said(700), true, 700),
            (Moving::default(), said(700), false, 700),
            (said(20), said(700), false, 20),
        ] {
            let policy = Policy::of(Some(&service), &cluster, requests_only);
            assert_eq!(policy.quiet, Duration::from_millis(want));
        }
    }
}
