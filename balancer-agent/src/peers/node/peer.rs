//! What is known of a peer, beside what it has reported.

use std::{collections::HashMap, time::Duration};

use crate::peers::{
    Moment,
    name::{NodeId, ServiceId},
};

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// When it was heard last.
    pub heard: Option<Moment>,
    /// When it gets the next heartbeat.
    pub beat_at: Moment,
    /// Heartbeats that it got.
    pub beats: u32,
    /// How often the totals of each Service port were repeated to it in full.
    pub rounds: HashMap<ServiceId, u8>,
    /// When within an interval its heartbeats are, so that not all are spoken to at once.
    phase: u64,
}

impl Peer {
    /// One that has just come.
    pub fn new(now: Moment, me: NodeId, id: NodeId) -> Self {
        let phase = me.0.rotate_left(32) ^ id.0;
        Self { heard: None, beat_at: now, beats: 0, rounds: HashMap::new(), phase }
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

    /// True if it was heard within that time.
    pub fn takes_part(&self, now: Moment, within: Duration) -> bool {
        self.heard.is_some_and(|at| at + within > now)
    }
}
