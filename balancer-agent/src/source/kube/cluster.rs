//! The receiving end: states of a cluster, one after another.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{
    access::{Access, AccessError},
    events::{self, Note},
    feed::{Feed, Told},
    kinds::watched,
    requests::Requests,
    store::Store,
};
use crate::{
    model::{Clash, ObjectRef},
    source::{Heard, SourceError, Update, object::Kind},
    tasks::Tasks,
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
    heard: Heard,
    requests: Requests,
    tasks: Tasks,
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
        let (sender, told) = mpsc::channel(BACKLOG);
        let watched = watched(node, peers);
        let kinds = watched.iter().map(|watched| watched.kind);
        let store = Store::new(server.clone(), node, peers.cloned(), kinds);
        let mut tasks = Tasks::default();
        let heard = Heard::default();
        let requests = access.requests().clone();
        for watched in watched {
            let name = format!("feed of {}s", watched.kind);
            let (access, told, heard) = (access.clone(), sender.clone(), heard.clone());
            tasks.start(name, Feed::new(watched, access, told, heard).run());
        }
        let (notes, noted) = watch::channel(Vec::new());
        tasks.start("Events", events::write(access, node.to_owned(), noted));
        Ok(Self { server, told, store, notes, clashes: Vec::new(), heard, requests, tasks })
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

    /// When the API server was last heard.
    pub const fn heard(&self) -> &Heard {
        &self.heard
    }

    /// What the API server was asked.
    pub const fn requests(&self) -> &Requests {
        &self.requests
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
    /// Only where a task has died: without one of the feeds the state would stand still unseen.
    pub async fn next(&mut self) -> Result<Update<'_>, SourceError> {
        loop {
            let told = tokio::select! {
                Some(told) = self.told.recv() => told,
                ended = self.tasks.ended() => {
                    return Err(SourceError::Ended { server: self.server.clone(), ended });
                }
            };
            self.store.take(told);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster of which `name` is all that follows it.
    fn cluster(
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> (Cluster, mpsc::Sender<Told>) {
        let (sender, told) = mpsc::channel(BACKLOG);
        let server = "https://api".to_owned();
        let mut tasks = Tasks::default();
        tasks.start(name, task);
        let store = Store::new(server.clone(), "n", None, [Kind::Service].into_iter());
        let (notes, _) = watch::channel(Vec::new());
        let (heard, requests) = (Heard::default(), Requests::default());
        let clashes = Vec::new();
        (Cluster { server, told, store, notes, clashes, heard, requests, tasks }, sender)
    }

    #[tokio::test]
    async fn a_feed_that_dies_is_named_though_others_go_on() {
        let (mut cluster, others) =
            cluster("feed of Services", async { panic!("index out of bounds") });
        let error = cluster.next().await.expect_err("nothing follows Services").to_string();
        for words in ["API server https://api", "\"feed of Services\"", "index out of bounds"] {
            assert!(error.contains(words), "{words} is not in {error}");
        }
        assert!(!others.is_closed());
    }

    #[tokio::test]
    async fn what_was_told_is_taken_in_while_all_run() {
        let (mut cluster, sender) = cluster("feed of Services", std::future::pending());
        for told in [Told::Begins(Kind::Service), Told::Complete(Kind::Service)] {
            sender.send(told).await.expect("somebody listens");
        }
        assert!(matches!(cluster.next().await, Ok(Update::State(_))));
    }
}
