//! Looks at Services at each interval, and at their connections as seldom as that tells something.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{model::Sample, rates::Look};
use crate::{
    model::Protocol,
    view::{ConnectionView, ServiceView, Wanted},
};

/// Connections that are asked about at a look, some microseconds each.
pub const MOST: u64 = 2_000;
/// Time between looks at connections; the second follows on the first as soon as it may.
pub const PAUSE: Duration = Duration::from_secs(10);

/// Whoever can be asked: an agent, or the maps that it left.
pub trait Ask {
    /// Why there is no answer.
    type Error: Display + Send + 'static;

    /// The Service ports that are shown. Beside them, why there is no agent.
    fn services(&self) -> Result<(Vec<ServiceView>, Option<String>), Self::Error>;

    /// Connections.
    fn connections(&self, wanted: &Wanted) -> Result<Vec<ConnectionView>, Self::Error>;
}

/// What was seen at one time.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Services.
    pub sample: Sample,
    /// Connections, where they were looked at.
    pub look: Option<Look>,
    /// Why the agent is not the one who told.
    pub away: Option<String>,
}

/// Takes looks.
#[derive(Debug)]
pub struct Gather<A> {
    ask: A,
    began: Instant,
    /// The Service that alone is shown: namespace and name.
    only: Option<(String, String)>,
    pace: Pace,
}

/// When connections are looked at: the time of the last look, and how many there were.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Duration>,
    looks: u64,
}

impl Pace {
    fn is_due(&mut self, now: Duration) -> bool {
        let due = self.looks < 2 || self.last.is_none_or(|last| now.saturating_sub(last) >= PAUSE);
        if due {
            (self.last, self.looks) = (Some(now), self.looks + 1);
        }
        due
    }
}

impl<A: Ask> Gather<A> {
    /// Will ask for one Service, where that is given, or for all.
    pub fn new(ask: A, only: Option<(String, String)>) -> Self {
        Self { ask, began: Instant::now(), only, pace: Pace::default() }
    }

    /// Looks now. Where there are too many connections, those of `focus` alone are looked at.
    pub fn next(&mut self, focus: Option<&(String, String)>) -> Result<Gathered, A::Error> {
        let (services, away) = self.ask.services()?;
        let sample =
            Sample { at: self.began.elapsed(), time: Timestamp::now().to_string(), services };
        let due = self.pace.is_due(sample.at);
        let look = if due { Some(self.look(focus, &sample.services)?) } else { None };
        Ok(Gathered { sample, look, away })
    }

    fn look(
        &self,
        focus: Option<&(String, String)>,
        services: &[ServiceView],
    ) -> Result<Look, A::Error> {
        let only = focus.or(self.only.as_ref()).cloned();
        let wanted = Wanted {
            namespace: only.as_ref().map(|(namespace, _)| namespace.clone()),
            service: only.as_ref().map(|(_, service)| service.clone()),
            limit: Some(MOST),
            ..Wanted::default()
        };
        let connections = self.ask.connections(&wanted)?;
        let included = |service: &&ServiceView| {
            let is_it = |(n, s): &(String, String)| *n == service.namespace && *s == service.name;
            service.port.protocol == Protocol::Tcp && only.as_ref().is_none_or(is_it)
        };
        let open = services.iter().filter(included).flat_map(|service| &service.backends);
        let sampled = open.map(|backend| u64::from(backend.active)).sum::<u64>() > MOST;
        Ok(Look { at: self.began.elapsed(), only, sampled, connections })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_look_follows_at_once_and_the_others_at_ten_seconds() {
        let mut pace = Pace::default();
        let looks: Vec<_> =
            (0..40).filter(|second| pace.is_due(Duration::from_secs(*second))).collect();
        assert_eq!(looks, [0, 1, 11, 21, 31]);
    }
}
