//! A double of the Kubernetes API server: the real protocol for the kinds that balancer reads.
//!
//! Served are Services, EndpointSlices, Nodes, Pods, Namespaces and Events, over TLS and to bearers
//! of a token only: lists with pages and snapshots, watches with bookmarks and streaming lists,
//! 410 after compaction, create, replace, patch (merge, strategic, server-side apply), delete, and
//! as much of discovery as kubectl and client libraries ask for. Nothing is validated beyond what
//! the protocol needs, and there are no controllers: EndpointSlices are what somebody writes.
//!
//! - `store`, `kinds`: the objects, the log of their changes, what is served.
//! - `list`, `watch`, `write`, `patch`, `defaults`, `selector`, `query`: the verbs (`list` and the
//!   patches are pure).
//! - `http`, `discovery`, `status`, `body`: requests and answers.
//! - `listener`, `tls`, `kubeconfig`: how clients get there.
//! - [`Faults`], [`ApiServer`], `control`: what goes wrong on command, from Rust or over a socket.
//! - [`Process`]: the server in a lab.

mod body;
mod control;
mod defaults;
mod discovery;
mod faults;
mod http;
mod kinds;
mod kubeconfig;
mod list;
mod listener;
mod patch;
mod process;
mod query;
mod selector;
mod server;
mod status;
mod store;
pub(crate) mod tls;
mod watch;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::watch as latest;

pub use control::{control, objects};
pub use faults::Faults;
pub use process::Process;
pub use server::ApiServer;

use store::{Key, Store};

/// How the server is to behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The version to report, major and minor.
    pub version: (u32, u32),
    /// What to make of `sendInitialEvents`.
    pub streaming_lists: StreamingLists,
    /// How often an idle watch gets a bookmark.
    pub bookmarks: Duration,
}

impl Default for Options {
    /// A present-day server on the loopback.
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            version: (1, 34),
            streaming_lists: StreamingLists::Served,
            bookmarks: Duration::from_secs(60),
        }
    }
}

/// What a server makes of `sendInitialEvents`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamingLists {
    /// It serves them, as the feature gate WatchList lets it.
    Served,
    /// It refuses them, as 1.27 and newer do without the gate.
    Forbidden,
    /// It has never heard of them and ignores the parameter, as 1.26 and older.
    Unknown,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// The connection it came over, from 1.
    pub connection: u64,
    /// When it was answered.
    pub at: Instant,
}

/// The server's inside, shared by its connections.
#[derive(Debug)]
struct Api {
    options: Options,
    store: Mutex<Store>,
    /// Which object was last applied by which manager.
    applied: Mutex<BTreeMap<(Key, String), Value>>,
    /// Held by whoever reads an object in order to write it.
    writing: Mutex<()>,
    /// The newest version, for those who wait for it.
    changes: latest::Sender<u64>,
    tokens: Mutex<BTreeSet<String>>,
    seen: Mutex<Vec<Seen>>,
    faults: Faults,
}

impl Api {
    fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options,
            store: Mutex::new(Store::new()),
            applied: Mutex::default(),
            writing: Mutex::default(),
            changes: latest::Sender::new(1),
            tokens: Mutex::default(),
            seen: Mutex::default(),
            faults: Faults::default(),
        })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        locked(&self.store)
    }

    fn applied(&self) -> MutexGuard<'_, BTreeMap<(Key, String), Value>> {
        locked(&self.applied)
    }

    /// Changes the store and wakes the watches.
    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store();
        let result = change(&mut store);
        self.changes.send_replace(store.version());
        result
    }
}

/// A panic elsewhere is a failed test already; it should not become another one.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
