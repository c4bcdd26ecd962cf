//! Backends that are drained on all nodes, as those who ask and the loop that follows them see it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::Peers;
use crate::{
    answer::AnswerError,
    peers::{
        drains::{Draining, MOST},
        name::NodeId,
        wire::Left,
    },
    view::NodeDrainView,
};

/// A backend that is drained on all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainedAll {
    /// Which drain it is.
    pub id: u64,
    /// The backend.
    pub backend: SocketAddr,
    /// The node at which it was asked for.
    pub by: String,
    /// Over which time its connections are ended.
    pub over: Duration,
    /// Since when this node knows of it, and how long it had lasted then.
    pub since: Instant,
    /// As above.
    pub age: Duration,
}

impl Peers {
    /// Drains backends on all nodes.
    ///
    /// # Errors
    ///
    /// Where there are no other nodes, or too many are drained already.
    pub fn drain(
        &self,
        backends: &BTreeSet<SocketAddr>,
        over: Duration,
    ) -> Result<(), AnswerError> {
        let now = self.now();
        let mut inner = self.inner();
        let exchange = inner.exchange.as_mut().ok_or(AnswerError::NoCluster)?;
        let others = exchange.node().drained().into_iter().filter(|found| found.by == self.me);
        let others = others.filter(|found| !backends.contains(&found.backend)).count();
        if others + backends.len() > MOST {
            return Err(AnswerError::TooManyDrains { most: MOST });
        }
        for backend in backends {
            exchange.node_mut().drain(now, rand::random(), *backend, over);
        }
        drop(inner);
        self.asked.notify_one();
        Ok(())
    }

    /// Drains backends no more, on any node, where they are drained on all.
    pub fn end_drains(&self, backends: &BTreeSet<SocketAddr>) {
        let now = self.now();
        let mut inner = self.inner();
        let Some(exchange) = &mut inner.exchange else { return };
        for backend in backends {
            exchange.node_mut().end_drain(now, *backend);
        }
        drop(inner);
        self.asked.notify_one();
    }

    /// Everything that is drained on all nodes, in an order that is the same on all of them.
    pub fn drained(&self) -> Vec<DrainedAll> {
        let inner = self.inner();
        let all = inner.exchange.as_ref().map(|exchange| exchange.node().drained());
        let mut all = all.unwrap_or_default();
        all.sort_by_key(|found| found.id);
        let drained = |Draining { id, by, backend, over, since, age }| DrainedAll {
            id,
            backend,
            by: inner.name(by),
            over,
            since: self.started + since,
            age,
        };
        all.into_iter().map(drained).collect()
    }

    /// Takes what this node has left of that.
    pub fn leave(&self, left: Vec<Left>) {
        let now = self.now();
        if let Some(exchange) = &mut self.inner().exchange {
            exchange.node_mut().leave_of_drains(now, left);
        }
    }

    /// What each node has left of a drain that this one has begun; none of one that another has.
    pub fn progress(&self, drain: u64) -> Vec<NodeDrainView> {
        let (inner, now) = (self.inner(), self.now());
        let Some(exchange) = &inner.exchange else { return Vec::new() };
        let is_it = |found: &Draining| found.id == drain && found.by == self.me;
        if !exchange.node().drained().iter().any(is_it) {
            return Vec::new();
        }
        let progress = exchange.node().progress(drain);
        let own = std::iter::once(self.me);
        let members: BTreeSet<NodeId> =
            inner.membership.members.keys().copied().chain(own).collect();
        let view = |id: NodeId| {
            let told = progress.get(&id);
            let left = told.map(|(_, left)| *left).unwrap_or_default();
            NodeDrainView {
                node: inner.name(id),
                connections: told.map(|_| left.open),
                ended: left.ended,
                busy: left.busy,
                resting: left.resting,
                refused: left.refused,
                told_ms: told.map(|(at, _)| now.saturating_sub(*at).as_millis() as u64),
            }
        };
        let mut views: Vec<_> = members.into_iter().map(view).collect();
        views.sort_by(|a, b| a.node.cmp(&b.node));
        views
    }

    /// Waits until something else is drained on all nodes. Cancel-safe.
    pub async fn other_drains(&self) {
        self.drains.notified().await;
    }
}
