//! Backends that are drained on all nodes: what this node says of them and hears.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{Letter, Node};
use crate::peers::{
    Moment,
    drains::{Draining, Progress},
    name::NodeId,
    wire::{Left, Section},
};

impl Node {
    /// A backend is drained on all nodes from now on; `id` is a random number.
    pub fn drain(&mut self, now: Moment, id: u64, backend: SocketAddr, over: Duration) {
        self.drains.begin(now, self.me, id, backend, over);
    }

    /// A backend is drained no more, on any node. False where it was not.
    pub fn end_drain(&mut self, now: Moment, backend: SocketAddr) -> bool {
        self.drains.end(now, backend)
    }

    /// Everything that is drained on all nodes.
    pub fn drained(&self) -> Vec<Draining> {
        self.drains.all().collect()
    }

    /// True once after something else is drained.
    pub fn has_other_drains(&mut self) -> bool {
        self.drains.has_changed()
    }

    /// Takes what this node has left of what is drained.
    pub fn leave_of_drains(&mut self, now: Moment, left: Vec<Left>) {
        self.drains.leave(now, self.me, left);
    }

    /// What the nodes have left of a drain that this node has begun.
    pub fn progress(&self, drain: u64) -> Progress {
        self.drains.progress(drain)
    }

    /// Says at once that something is drained, or no more.
    pub(super) fn drain_news(&mut self, now: Moment, letters: &mut BTreeMap<NodeId, Letter>) {
        if !self.drains.is_new() {
            return;
        }
        let Some(said) = self.drains.say(now) else { return };
        for to in &self.heard {
            letters.entry(*to).or_default().sections.push(Section::Drains(said.clone()));
        }
    }

    /// What a heartbeat to a peer repeats.
    pub(super) fn drain_beat(&self, now: Moment, to: NodeId, letter: &mut Letter) {
        letter.sections.extend(self.drains.say(now).map(Section::Drains));
        let left = self.drains.say_left(to);
        if !left.is_empty() {
            letter.sections.push(Section::Left(left));
        }
    }
}
