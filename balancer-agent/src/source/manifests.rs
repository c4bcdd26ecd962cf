//! The receiving end: states of a folder, one after another.

use std::{
    io,
    path::{Path, PathBuf, absolute},
    sync::{Arc, mpsc},
    thread,
};

use tokio::sync::watch::{Receiver, channel};

use super::{
    SourceError, disk,
    merge::Merged,
    watch::{Signal, Watch},
    worker,
};
use crate::model::State;

/// A folder of Kubernetes manifests that is watched.
#[derive(Debug)]
pub struct Manifests {
    dir: PathBuf,
    states: Receiver<Arc<Merged>>,
    given: Option<Arc<Merged>>,
    node: Option<String>,
    signals: mpsc::Sender<Signal>,
}

impl Manifests {
    /// Starts to read and watch a folder.
    ///
    /// # Errors
    ///
    /// Where the folder is missing, is no folder, or can't be listed or watched. Once open, none
    /// of this is an error any more: the last state stays, and says so.
    pub fn open(dir: &Path) -> Result<Self, SourceError> {
        let dir = absolute(dir).map_err(|error| refuse(dir, error))?;
        disk::list(&dir).map_err(|error| refuse(&dir, error))?;
        let (sender, receiver) = mpsc::channel();
        let watch = Watch::new(dir.clone(), sender.clone(), receiver)
            .map_err(|source| SourceError::Watch { dir: dir.clone(), source })?;
        let (states, received) = channel(Arc::default());
        let folder = dir.clone();
        thread::Builder::new()
            .name("manifests".to_owned())
            .spawn(move || worker::run(&folder, watch, &states))
            .map_err(|source| SourceError::Thread { dir: dir.clone(), source })?;
        Ok(Self { dir, states: received, given: None, node: None, signals: sender })
    }

    /// Says which Node is this agent's own; none is otherwise.
    #[must_use]
    pub fn of_node(mut self, name: &str) -> Self {
        self.node = Some(name.to_owned());
        self
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first complete state, then each state that differs from the one before.
    ///
    /// Cancel-safe: a state is given to the call that completes, and lost by none.
    ///
    /// # Errors
    ///
    /// Only where the reading thread has died.
    pub async fn next(&mut self) -> Result<State, SourceError> {
        loop {
            let stopped = |_| SourceError::Stopped { dir: self.dir.clone() };
            self.states.changed().await.map_err(stopped)?;
            let state = self.states.borrow_and_update().clone();
            if self.given.as_ref() != Some(&state) {
                let given = self.given.insert(state);
                return Ok(given.state(self.node.as_deref()));
            }
        }
    }

    /// The state of a folder as it is now for the node of that name, without watching it.
    ///
    /// # Errors
    ///
    /// Where the folder is missing, is no folder, or can't be listed.
    pub fn read_once(dir: &Path, node: Option<&str>) -> Result<State, SourceError> {
        worker::read_once(dir, node).map_err(|error| refuse(dir, error))
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        // Fails only where the thread has ended already.
        let _ = self.signals.send(Signal::Stop);
    }
}

fn refuse(dir: &Path, source: io::Error) -> SourceError {
    let dir = dir.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => SourceError::Missing { dir },
        io::ErrorKind::NotADirectory => SourceError::NotAFolder { dir },
        _ => SourceError::Unreadable { dir, source },
    }
}
