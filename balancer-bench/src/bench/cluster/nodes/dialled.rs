//! Clients on real nodes as a way to choose: the programs of each node do, and time is that of the
//! clock.

use std::{
    collections::HashMap,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use balancer_lab::error::{Error, Result};

use super::{
    super::{way::Way, world::World},
    lane::Lane,
    stage::Stage,
};

/// Until all have heard of what was there before, and nobody counts it as just opened.
const QUIET: Duration = Duration::from_secs(3);

/// The clients of one Service.
pub(super) struct Dialled<'a> {
    stage: &'a Stage,
    lane: &'a mut Lane,
    /// Own addresses of the connections of a node to a pod.
    open: HashMap<(usize, usize), Vec<SocketAddr>>,
    /// The row that the Service has instead of the one of the world: its only pod is given
    /// connections.
    narrowed: Option<usize>,
    /// When the time of the workload began.
    begun: Option<Instant>,
    /// The first failure; nothing is done after it.
    failed: Option<Error>,
}

impl<'a> Dialled<'a> {
    /// Gives the Service the row of the world, and waits until nobody knows of a connection to it.
    pub(super) fn new(stage: &'a Stage, lane: &'a mut Lane, world: &World) -> Result<Self> {
        stage.publish(lane, world.row(0))?;
        stage.await_none(lane)?;
        let (open, failed) = (HashMap::new(), None);
        Ok(Self { stage, lane, open, narrowed: None, begun: None, failed })
    }

    /// Closes what is open, all of it. The first failure is the one that is told.
    pub(super) fn finish(mut self) -> Result<()> {
        for ((node, _), connections) in std::mem::take(&mut self.open) {
            for local in connections {
                let closed = self.lane.close(&self.stage.dialers[node], local);
                self.failed = self.failed.or(closed.err());
            }
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn attempt<T>(&mut self, action: impl FnOnce(&mut Self) -> Result<T>) -> Option<T> {
        if self.failed.is_some() {
            return None;
        }
        action(self).map_err(|error| self.failed = Some(error)).ok()
    }

    /// Gives the Service a single pod.
    fn narrow(&mut self, backend: usize) -> Result<()> {
        if self.narrowed != Some(backend) {
            self.stage.publish(self.lane, &[backend])?;
            self.narrowed = Some(backend);
        }
        Ok(())
    }

    /// Gives it its row again.
    fn widen(&mut self, world: &World) -> Result<()> {
        if self.narrowed.take().is_some() {
            self.stage.publish(self.lane, world.row(0))?;
        }
        Ok(())
    }

    fn connect(&mut self, node: usize) -> Result<usize> {
        let (local, backend) = self.lane.connect(&self.stage.dialers[node])?;
        self.open.entry((node, backend)).or_default().push(local);
        Ok(backend)
    }
}

impl Way for Dialled<'_> {
    fn choose(&mut self, world: &World, node: usize, _now: Duration) -> usize {
        let connect = |this: &mut Self| {
            this.widen(world)?;
            this.connect(node)
        };
        self.attempt(connect).unwrap_or(0)
    }

    fn place(&mut self, _world: &World, node: usize, backend: usize) {
        self.attempt(|this| {
            this.narrow(backend)?;
            let reached = this.connect(node)?;
            if reached == backend {
                return Ok(());
            }
            Err(Error::Unmet(format!("pod {reached} was reached, and {backend} alone is there")))
        });
    }

    fn changed(&mut self, _world: &World, node: usize, backend: usize, is_new: bool) {
        if is_new {
            return;
        }
        let Some(local) = self.open.get_mut(&(node, backend)).and_then(Vec::pop) else { return };
        self.attempt(|this| this.lane.close(&this.stage.dialers[node], local));
    }

    fn rows_changed(&mut self, world: &World, _now: Duration) {
        self.attempt(|this| this.stage.publish(this.lane, world.row(0)));
    }

    fn wait(&mut self, world: &World, until: Duration) {
        self.attempt(|this| this.widen(world));
        let begun = *self.begun.get_or_insert_with(Instant::now);
        if self.failed.is_none() {
            thread::sleep((begun + until).saturating_duration_since(Instant::now()));
        }
    }

    fn quiet(&self) -> Duration {
        QUIET
    }
}
