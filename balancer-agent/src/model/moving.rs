//! When connections are moved, as an annotation or the configuration says.

use std::time::Duration;

/// What one place says about the connections of a Service; nothing where it leaves the matter to
/// the place behind it. A time of zero turns off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moving {
    /// `idle-timeout`: what was quiet for so long is ended.
    pub idle_timeout: Option<Duration>,
    /// `max-connection-age`: what is older is ended when it is quiet.
    pub max_age: Option<Duration>,
    /// `max-connection-age-jitter`: up to so much is added to the age, for each connection another.
    pub max_age_jitter: Option<Duration>,
    /// `rebalance`: whether connections move to where there are fewer.
    pub rebalance: Option<bool>,
    /// `rebalance-budget`: how many a minute.
    pub rebalance_budget: Option<u32>,
    /// `drain-timeout`: over which time those of a backend that terminates are ended.
    pub drain_timeout: Option<Duration>,
    /// `stale-timeout`: how long after a backend is gone those to it are ended.
    pub stale_timeout: Option<Duration>,
    /// `quiet-time`: how long nothing must have moved where a connection is ended. Where nobody says it,
    /// it follows from the protocol of the Service port.
    pub quiet_time: Option<Duration>,
    /// `reset-after`: how long after it was due what can't be ended gently is reset.
    pub reset_after: Option<Duration>,
}

impl Moving {
    /// What holds where nobody says anything: everything is off but what leads nowhere any more. The
    /// quiet time depends on the Service port.
    pub const DEFAULT: Self = Self {
        idle_timeout: Some(Duration::ZERO),
        max_age: Some(Duration::ZERO),
        max_age_jitter: Some(Duration::ZERO),
        rebalance: Some(false),
        rebalance_budget: Some(60),
        drain_timeout: Some(Duration::ZERO),
        stale_timeout: Some(Duration::from_secs(30)),
        quiet_time: None,
        reset_after: Some(Duration::ZERO),
    };

    /// What this says, and what `other` says where this says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            max_age: self.max_age.or(other.max_age),
            max_age_jitter: self.max_age_jitter.or(other.max_age_jitter),
            rebalance: self.rebalance.or(other.rebalance),
            rebalance_budget: self.rebalance_budget.or(other.rebalance_budget),
            drain_timeout: self.drain_timeout.or(other.drain_timeout),
            stale_timeout: self.stale_timeout.or(other.stale_timeout),
            quiet_time: self.quiet_time.or(other.quiet_time),
            reset_after: self.reset_after.or(other.reset_after),
        }
    }
}
