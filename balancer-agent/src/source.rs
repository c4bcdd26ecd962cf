//! What Kubernetes describes, converted once, at the edge: from the API server, or from a folder of
//! its YAML.
//!
//! - [`kube`]: the API server.
//! - `service`, `slice`, `node`, `pod`, `address`, `ranges`, `affinity`, `annotations`, `weights`,
//!   `duration`: objects to the types of [`crate::model`] (pure); both sources use them.
//! - [`Source`]: either of the two.
//!
//! The folder, its stages in their order:
//!
//! - `watch`, `disk`: what changed in the folder, and the bytes of it; all the I/O there is.
//! - `folder`, `tracked`: which file to read when, so that no half-written file is believed.
//! - `reading`, `document`, `yaml`, `parse`: text to documents, documents and Lists to values, as
//!   kubectl reads them (pure).
//! - `decode`: values to objects (pure).
//! - `content`: what a file defines now, given what it defined before (pure).
//! - `merge`: all files to one [`State`](crate::model::State) (pure).
//! - `worker`, [`Manifests`]: the loop around it, on its own thread, and its receiving end.
//!
//! What is read and what happens to bad input is in `docs/manifests.md`.

mod address;
mod affinity;
mod annotations;
mod content;
mod decode;
mod disk;
mod document;
mod either;
mod folder;
mod heard;
pub mod kube;
mod manifests;
mod merge;
mod node;
mod object;
mod parse;
mod pod;
mod port;
mod ranges;
mod reading;
mod requests;
mod service;
mod slice;
mod tracked;
mod traffic;
mod update;
mod watch;
mod weights;
mod worker;
mod yaml;

use std::{io, path::PathBuf};

pub use either::{Origin, Source};
pub use heard::Heard;
pub use manifests::Manifests;
pub use object::Kind;
pub use update::Update;

use crate::tasks;

/// Why a source can't be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such folder.
    #[error(
        "manifests folder {} does not exist: create it, or name the folder that holds the YAML",
        .dir.display()
    )]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// There is something of that name, but no folder.
    #[error(
        "{} is not a folder: name the folder that holds the YAML, not a file of it",
        .dir.display()
    )]
    NotAFolder {
        /// What was named.
        dir: PathBuf,
    },
    /// The folder can't be listed.
    #[error("manifests folder {} can't be read: allow this user to list it", .dir.display())]
    Unreadable {
        /// The folder.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// inotify is not available.
    #[error(
        "manifests folder {} can't be watched: raise fs.inotify.max_user_instances with sysctl",
        .dir.display()
    )]
    Watch {
        /// The folder.
        dir: PathBuf,
        /// What the kernel said.
        source: notify::Error,
    },
    /// The thread that reads could not start.
    #[error(
        "no thread to read manifests folder {}: raise the limit of processes (ulimit -u)",
        .dir.display()
    )]
    Thread {
        /// The folder.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The thread that reads the folder has ended, which only a defect can cause.
    #[error(
        "manifests folder {} is no longer read: restart the agent; balancing goes on meanwhile",
        .dir.display()
    )]
    Stopped {
        /// The folder.
        dir: PathBuf,
    },
    /// There is no API server to ask.
    #[error(transparent)]
    Access(#[from] kube::AccessError),
    /// A task that follows the API server has ended, which only a defect can cause.
    #[error("API server {server}: {ended}: restart it; balancing goes on meanwhile")]
    Ended {
        /// The API server.
        server: String,
        /// Which task, and how.
        ended: tasks::Ended,
    },
}

#[cfg(test)]
mod properties;
