//! The receiving end: states of a cluster, one after another.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    access::{Access, AccessError},
    events::{self, Note},
    feed::{Feed, Told},
    kinds::watched,
    store::Store,
};
use crate::{
    model::{Clash, ObjectRef},
    source::{SourceError, Update, object::Kind},
};

/// How much may be told before it is taken in; feeds wait then, and the API server with them.
const BACKLOG: usize = 1024;
/// What has arrived already is taken together, at most for so long.
const BURST: Duration = Duration::from_millis(5);

/// A cluster that is watched.
#[derive(Debug)]
pub struct Cluster {
    server: String,
    told: mpsc::Receiver<Told>,
    store: Store,
    notes: watch::Sender<Vec<Note>>,
    clashes: Vec<Clash>,
    _tasks: JoinSet<()>,
}

impl Cluster {
    /// Starts to watch, as the agent of that node. `peers` is the Service of the agents.
    ///
    /// # Errors
    ///
    /// Where nothing says how to get at the API server. That it does not answer is no error: it
    /// may be started later.
    pub async fn open(
        kubeconfig: Option<PathBuf>,
        node: &str,
        peers: Option<&ObjectRef>,
    ) -> Result<Self, AccessError> {
        let access = Access::new(kubeconfig);
        let (_, server) = access.client().await?;
        let (teller, told) = mpsc::channel(BACKLOG);
        let watched = watched(node, peers);
        let kinds = watched.iter().map(|watched| watched.kind);
        let store = Store::new(server.clone(), node, peers.cloned(), kinds);
        let mut tasks = JoinSet::new();
        for watched in watched {
            tasks.spawn(Feed::new(watched, access.clone(), teller.clone()).run());
        }
        let (notes, noted) = watch::channel(Vec::new());
        tasks.spawn(events::write(access, node.to_owned(), noted));
        Ok(Self { server, told, store, notes, clashes: Vec::new(), _tasks: tasks })
    }

    /// The kinds that were never listed to the end.
    pub fn awaited(&self) -> Vec<Kind> {
        self.store.awaited()
    }

    /// Takes which Services go without an address that another one has, for their owners.
    pub fn tell(&mut self, clashes: &[Clash]) {
        if self.clashes != clashes {
            self.clashes = clashes.to_vec();
            self.note();
        }
    }

    /// Gives what is wrong with Services to whoever writes Events.
    fn note(&mut self) {
        let notes = self.store.notes(&self.clashes);
        self.notes.send_if_modified(|known| {
            let differ = *known != notes;
            *known = notes;
            differ
        });
    }

    /// Address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What is in the way until the first complete state, that state, then each that differs from
    /// the one before. Changes that arrive together, or while the caller is busy, come as one.
    ///
    /// Cancel-safe: what was told is kept in the store.
    ///
    /// # Errors
    ///
    /// Only where the feeds have died.
    pub async fn next(&mut self) -> Result<Update<'_>, SourceError> {
        loop {
            let stopped = || SourceError::Deaf { server: self.server.clone() };
            self.store.take(self.told.recv().await.ok_or_else(stopped)?);
            let start = Instant::now();
            while start.elapsed() < BURST
                && let Ok(told) = self.told.try_recv()
            {
                self.store.take(told);
            }
            if self.store.notes_differ() {
                self.note();
            }
            if self.store.has_news() {
                break;
            }
        }
        Ok(self.store.update())
    }
}
