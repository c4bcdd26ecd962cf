//! What the running agent shows of itself.

use std::{
    path::PathBuf,
    process,
    sync::{PoisonError, RwLock},
    time::Instant,
};

use crate::{
    api::Provider,
    config::RunConfig,
    desired::Desired,
    kernel::pins::Pins,
    maps::{MapsError, pinned::PinnedMaps},
    model::Problem,
    observe::{Snapshot, offline, views},
    view::{AgentView, ServiceView, StatusView},
};

/// What the loop shares with those who ask.
pub struct Shared {
    bpffs: PathBuf,
    pins: Pins,
    maps: PinnedMaps,
    node: String,
    source: String,
    started: Instant,
    /// `None` until the first complete state is in the maps.
    published: RwLock<Option<(Desired, Vec<Problem>)>>,
}

impl Shared {
    /// Opens the maps a second time, for reading.
    pub fn new(config: &RunConfig) -> Result<Self, MapsError> {
        let pins = Pins::new(&config.bpffs);
        Ok(Self {
            bpffs: config.bpffs.clone(),
            maps: PinnedMaps::open(&pins, config.capacities)?,
            pins,
            node: config.node_name.clone(),
            source: format!("folder {}", config.manifests.display()),
            started: Instant::now(),
            published: RwLock::new(None),
        })
    }

    /// Shows a new state.
    pub fn publish(&self, desired: Desired, problems: Vec<Problem>) {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        *published = Some((desired, problems));
    }

    fn read<T>(&self, show: impl FnOnce(Option<&(Desired, Vec<Problem>)>) -> T) -> T {
        show(self.published.read().unwrap_or_else(PoisonError::into_inner).as_ref())
    }
}

impl Provider for Shared {
    fn status(&self) -> StatusView {
        let snapshot = Snapshot::read(&self.maps);
        let (ready, mut problems) = self.read(|published| {
            (
                published.is_some(),
                published.map(|(_, problems)| problems.clone()).unwrap_or_default(),
            )
        });
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
                ready,
            }),
            problems,
            ..offline::status(&self.bpffs, &self.pins, &snapshot)
        }
    }

    fn services(&self) -> Vec<ServiceView> {
        match Snapshot::read(&self.maps) {
            Ok(snapshot) => {
                self.read(|published| views::services(&snapshot, published.map(|(d, _)| d)))
            }
            Err(error) => {
                tracing::error!("{error}");
                Vec::new()
            }
        }
    }
}

fn unreadable(error: &MapsError) -> Problem {
    let object = "maps".to_owned();
    Problem { object, field: String::new(), message: format!("can't be read: {error}") }
}
