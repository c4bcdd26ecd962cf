//! What is known of a peer, beside what it has reported.

use std::{collections::HashMap, time::Duration};

use crate::peers::{
    Moment,
    name::{NodeId, ServiceId},
    wire::Report,
};

/// How much was heard of a heartbeat of a peer. Sections come in the order in which they are said,
/// or not at all.
#[derive(Clone, Copy, Debug)]
struct Heartbeat {
    /// How many Service ports its reports are about.
    services: u16,
    /// How many of these were reported in full.
    whole: u16,
    /// The round of its reports, once one was heard.
    round: Option<u8>,
}

/// What a report makes whole: it may have come in several sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// True where all was heard that the peer says of the Service port.
    pub service: bool,
    /// True where all was heard that it says in the heartbeat.
    pub heartbeat: bool,
}

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// Since when it is one.
    pub since: Moment,
    /// When it was heard last.
    pub heard: Option<Moment>,
    /// When it gets the next heartbeat.
    pub beat_at: Moment,
    /// Heartbeats that it got.
    pub beats: u32,
    /// How often the totals of each Service port were repeated to it in full.
    pub rounds: HashMap<ServiceId, u8>,
    /// The heartbeat that is being heard, where its beginning was.
    heartbeat: Option<Heartbeat>,
    /// A Service port, a round, and how many backends were named by what was heard last of both.
    named: Option<(ServiceId, u8, usize)>,
    /// When within an interval its heartbeats are, so that not all are spoken to at once.
    phase: u64,
}

impl Peer {
    /// One that has just come.
    pub fn new(now: Moment, me: NodeId, id: NodeId) -> Self {
        let phase = me.0.rotate_left(32) ^ id.0;
        let (heartbeat, named) = (None, None);
        let rounds = HashMap::new();
        Self { since: now, heard: None, beat_at: now, beats: 0, rounds, heartbeat, named, phase }
    }

    /// A heartbeat is sent; the next one is about an interval later.
    pub fn beat(&mut self, now: Moment, interval: Duration) {
        self.beats = self.beats.wrapping_add(1);
        let (now, interval) = (now.as_nanos() as u64, interval.as_nanos() as u64);
        let phase = self.phase % interval;
        let soonest = now + interval / 4;
        let turns = soonest.saturating_sub(phase) / interval + 1;
        self.beat_at = Duration::from_nanos(phase + turns * interval);
    }

    /// A heartbeat begins, with reports about so many Service ports. True where that is all.
    pub fn begins(&mut self, services: u16) -> bool {
        let heartbeat = Heartbeat { services, whole: 0, round: None };
        self.heartbeat = Some(heartbeat).filter(|_| services > 0);
        self.heartbeat.is_none()
    }

    /// A section of a report was heard.
    pub fn reports(&mut self, report: &Report) -> Whole {
        let Some(all) = report.all else { return Whole::default() };
        let before = match self.named {
            Some((service, round, named)) if (service, round) == (report.service, report.round) => {
                named
            }
            _ => 0,
        };
        let named = before + report.counts.len();
        self.named = Some((report.service, report.round, named));
        if named != usize::from(all) {
            return Whole::default();
        }
        // The beginning of another heartbeat may have been lost.
        let is_same = |beat: &Heartbeat| beat.round.is_none_or(|round| round == report.round);
        self.heartbeat = self.heartbeat.filter(is_same);
        let heartbeat = self.heartbeat.as_mut().is_some_and(|beat| {
            (beat.whole, beat.round) = (beat.whole + 1, Some(report.round));
            beat.whole == beat.services
        });
        Whole { service: true, heartbeat }
    }

    /// True if it was heard within that time.
    pub fn takes_part(&self, now: Moment, within: Duration) -> bool {
        self.heard.is_some_and(|at| at + within > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{desired::BackendAddr, model::Protocol};

    const WEB: ServiceId = ServiceId(1);
    const API: ServiceId = ServiceId(2);

    /// A section that names `number` of `all` backends.
    fn section(service: ServiceId, round: u8, number: u8, all: Option<u16>) -> Report {
        let count = |id| (BackendAddr::new(([10, 0, 0, id], 80).into(), Protocol::Tcp), 1);
        Report {
            service,
            round,
            opened: 0,
            all,
            done: None,
            counts: (0..number).map(count).collect(),
        }
    }

    fn peer() -> Peer {
        Peer::new(Duration::ZERO, NodeId(1), NodeId(2))
    }

    const WHOLE: Whole = Whole { service: true, heartbeat: true };
    const SERVICE: Whole = Whole { service: true, heartbeat: false };

    #[test]
    fn a_heartbeat_is_whole_once_all_of_its_reports_are() {
        let mut peer = peer();
        assert!(!peer.begins(2));
        assert_eq!(peer.reports(&section(WEB, 1, 3, Some(5))), Whole::default());
        assert_eq!(peer.reports(&section(WEB, 1, 2, Some(5))), SERVICE);
        assert_eq!(peer.reports(&section(API, 1, 0, Some(0))), WHOLE);
        assert_eq!(peer.reports(&section(API, 1, 4, None)), Whole::default(), "what has changed");
        assert!(peer.begins(0), "it reports nothing");
    }

    #[test]
    fn what_is_left_of_two_heartbeats_does_not_make_one() {
        let mut peer = peer();
        // The end of one is lost, and the beginning of the next one.
        peer.begins(2);
        assert_eq!(peer.reports(&section(WEB, 1, 3, Some(5))), Whole::default());
        assert_eq!(peer.reports(&section(WEB, 2, 2, Some(5))), Whole::default());
        assert_eq!(peer.reports(&section(API, 2, 1, Some(1))), SERVICE);
        peer.begins(2);
        assert_eq!(peer.reports(&section(WEB, 3, 5, Some(5))), SERVICE);
        assert_eq!(peer.reports(&section(API, 4, 1, Some(1))), SERVICE);
    }
}
