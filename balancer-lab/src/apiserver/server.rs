//! A running server, and what can be done to it.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
};

use super::{
    Api, Faults, Options, Seen, defaults,
    kinds::{self, Kind},
    kubeconfig::Files,
    listener::{self, Move, Order},
    locked,
    store::{Key, key},
    tls::Identity,
};
use crate::error::{Attempt, Error, Result};

/// A running server, on threads of its own. Dropping it ends it.
#[derive(Debug)]
pub struct ApiServer {
    api: Arc<Api>,
    address: SocketAddr,
    files: Files,
    orders: mpsc::UnboundedSender<Order>,
    runtime: Option<Runtime>,
}

impl ApiServer {
    /// Starts a server that holds the namespaces of a new cluster, and writes its kubeconfig below
    /// `dir`.
    pub fn start(dir: &Path, options: Options) -> Result<Self> {
        let what = format!("listen on {}", options.listen);
        let listener = TcpListener::bind(options.listen).attempt(&what)?;
        listener.set_nonblocking(true).attempt(&what)?;
        let address = listener.local_addr().attempt(&what)?;
        let identity = Identity::generate(address.ip())?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("apiserver")
            .enable_all()
            .build()
            .attempt("start the API server's threads")?;
        let api = Api::new(options);
        let (orders, received) = mpsc::unbounded_channel();
        let first = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).attempt(&what)?
        };
        let tls = identity.acceptor;
        runtime.spawn(listener::run(Arc::clone(&api), tls, address, first, received));
        let token = token();
        locked(&api.tokens).insert(token.clone());
        let files = Files::write(dir, address, &identity.authority_pem, &token)?;
        let server = Self { api, address, files, orders, runtime: Some(runtime) };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            server.put(&json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            }))?;
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file that clients need.
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.kubeconfig()
    }

    /// Creates or replaces an object just as it is, valid or not.
    pub fn put(&self, object: &Value) -> Result<()> {
        let key = locate(object)?;
        let mut object = object.clone();
        let _turn = locked(&self.api.writing);
        let before = self.api.store().get(&key).cloned();
        let metadata = object["metadata"].as_object_mut();
        let metadata = metadata.ok_or_else(|| Error::Unmet("an object has metadata".to_owned()))?;
        match before {
            Some(before) => {
                for field in ["uid", "creationTimestamp"] {
                    metadata.insert(field.to_owned(), before["metadata"][field].clone());
                }
            }
            None => defaults::identify(metadata),
        }
        if !key.2.is_empty() {
            metadata.insert("namespace".to_owned(), json!(key.2));
        }
        self.api.change(|store| store.put(key, object));
        Ok(())
    }

    /// Deletes the object of that kind, namespace and name.
    pub fn remove(&self, object: &Value) -> Result<()> {
        let key = locate(object)?;
        let _turn = locked(&self.api.writing);
        let removed = self.api.change(|store| store.remove(&key));
        removed.map(drop).ok_or_else(|| Error::Unmet(format!("there is no {key:?}")))
    }

    /// The object as it is now.
    pub fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let kind = kinds::of_object(api_version, kind)?;
        self.api.store().get(&key(kind, namespace, name)).map(|found| Value::clone(found))
    }

    /// The objects of a kind as they are now.
    pub fn list(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let Some(kind) = kinds::of_object(api_version, kind) else { return Vec::new() };
        let store = self.api.store();
        // What is there now is never compacted away.
        let found = store.at(kind, store.version()).unwrap_or_default();
        found.iter().map(|object| Value::clone(object)).collect()
    }

    /// What can be made to go wrong while it is there.
    pub fn faults(&self) -> &Faults {
        &self.api.faults
    }

    /// Closes all connections and refuses new ones. The objects stay.
    pub fn away(&self) -> Result<()> {
        self.order(Move::Away)
    }

    /// Closes all connections.
    pub fn hang_up(&self) -> Result<()> {
        self.order(Move::Hangup)
    }

    /// Listens again, at the same address.
    pub fn back(&self) -> Result<()> {
        self.order(Move::Back)
    }

    fn order(&self, order: Move) -> Result<()> {
        let (done, made) = oneshot::channel();
        let gone = || Error::Unmet("the API server has ended".to_owned());
        self.orders.send((order, done)).map_err(|_| gone())?;
        // A thread of its own: the caller's may belong to a runtime, which must not be blocked on.
        let made = std::thread::scope(|scope| scope.spawn(|| made.blocking_recv()).join());
        let made = made.ok().and_then(std::result::Result::ok).ok_or_else(gone)?;
        made.attempt(format!("listen on {}", self.address))
    }

    /// Forgets all changes so far: who has not seen them gets 410.
    pub fn compact(&self) {
        self.api.store().compact();
    }

    /// Makes every token worthless; watches go on until they end.
    pub fn expire_tokens(&self) {
        locked(&self.api.tokens).clear();
    }

    /// Writes a new token where the kubeconfig says.
    pub fn renew_token(&self) -> Result<()> {
        let token = token();
        locked(&self.api.tokens).insert(token.clone());
        self.files.write_token(&token)
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.api.seen).clone()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn locate(object: &Value) -> Result<Key> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let served = kinds::of_object(&version, &kind)
        .ok_or_else(|| Error::Unmet(format!("{kind:?} of {version:?} is not served")))?;
    let name = text(&object["metadata"]["name"]);
    if name.is_empty() {
        return Err(Error::Unmet(format!("a {kind} without a name")));
    }
    Ok(key(served, &namespace(served, object), &name))
}

fn namespace(kind: &Kind, object: &Value) -> String {
    let given = object["metadata"]["namespace"].as_str();
    if kind.namespaced { given.unwrap_or("default").to_owned() } else { String::new() }
}
