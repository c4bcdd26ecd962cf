//! What the running agent shows of itself.

use std::{
    path::PathBuf,
    process,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Instant, SystemTime},
};

use crate::{
    api::Provider,
    config::RunConfig,
    desired::Desired,
    health::Health,
    kernel::pins::Pins,
    maps::{MapsError, pinned::PinnedMaps},
    metrics::Programming,
    model::Problem,
    observe::{Snapshot, offline, views},
    view::{AgentView, BalancingView, ServiceView, StatusView},
};

/// What the loop shares with those who ask.
pub struct Shared {
    bpffs: PathBuf,
    pins: Pins,
    maps: PinnedMaps,
    node: String,
    source: String,
    started: Instant,
    published: RwLock<Published>,
    balancing: RwLock<Option<BalancingView>>,
    programming: Programming,
    health: Arc<Health>,
}

/// What the loop has told.
#[derive(Default)]
struct Published {
    desired: Desired,
    problems: Vec<Problem>,
}

impl Shared {
    /// Opens the maps a second time, for reading.
    pub fn new(config: &RunConfig, source: String) -> Result<Self, MapsError> {
        let pins = Pins::new(&config.bpffs);
        Ok(Self {
            bpffs: config.bpffs.clone(),
            maps: PinnedMaps::open(&pins, config.capacities)?,
            pins,
            node: config.node_name.clone(),
            source,
            started: Instant::now(),
            published: RwLock::default(),
            balancing: RwLock::default(),
            programming: Programming::default(),
            health: Arc::default(),
        })
    }

    /// Brings what is desired up to date. What is about to be written to the maps adds to what they
    /// tell, so it must be known before they tell it.
    pub fn announce<T>(&self, change: impl FnOnce(&mut Desired) -> T) -> T {
        let mut published = self.write();
        let result = change(&mut published.desired);
        self.health.know(&published.desired);
        result
    }

    /// Looks at what is desired. Those who ask wait meanwhile only if there is something new.
    pub fn desired<T>(&self, look: impl FnOnce(&Desired) -> T) -> T {
        look(&self.read().desired)
    }

    /// Takes what remains wrong after the writes, and whether all were carried out.
    pub fn settle(&self, problems: Vec<Problem>, complete: bool) {
        self.write().problems = problems;
        self.health.written(complete);
    }

    /// Takes whether balancing works.
    pub fn tell_balancing(&self, balancing: BalancingView) {
        self.health.balances(balancing.state);
        *self.balancing.write().unwrap_or_else(PoisonError::into_inner) = Some(balancing);
    }

    /// What probes are told.
    pub const fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Takes when the changes were triggered that the maps have now.
    pub fn written(&self, triggers: &[SystemTime]) {
        self.programming.written(triggers);
    }

    /// Takes what is in the way of a first state.
    pub fn wait(&self, problems: &[Problem]) {
        self.write().problems = problems.to_vec();
    }

    fn write(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider for Shared {
    fn status(&self) -> StatusView {
        let (pods, mut problems) = {
            let published = self.read();
            (views::pods(&published.desired), published.problems.clone())
        };
        let snapshot = Snapshot::read(&self.maps);
        let snapshot = snapshot.unwrap_or_else(|error| {
            problems.push(unreadable(&error));
            Snapshot::default()
        });
        StatusView {
            agent: Some(AgentView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: process::id(),
                node: self.node.clone(),
                uptime_s: self.started.elapsed().as_secs(),
                source: self.source.clone(),
                ready: self.health.report().ready,
            }),
            balancing: self.balancing.read().unwrap_or_else(PoisonError::into_inner).clone(),
            pods,
            problems,
            ..offline::status(&self.bpffs, &self.pins, &snapshot)
        }
    }

    fn services(&self) -> Vec<ServiceView> {
        match Snapshot::read(&self.maps) {
            Ok(snapshot) => views::services(&snapshot, Some(&self.read().desired)),
            Err(error) => {
                tracing::error!("{error}");
                Vec::new()
            }
        }
    }

    fn programming(&self) -> Programming {
        self.programming.clone()
    }
}

fn unreadable(error: &MapsError) -> Problem {
    let object = "maps".to_owned();
    Problem { object, field: String::new(), message: format!("can't be read: {error}") }
}
