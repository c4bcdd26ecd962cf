//! A source and the server it watches.

use std::{path::Path, time::Duration};

use balancer_agent::{
    model::{Clash, ObjectRef, Problem, State},
    source::{Update, kube::Cluster},
};
use balancer_lab::apiserver::{ApiServer, Options};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Long enough for the pauses after a few failures in a row.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, and the source of an agent on `node-1` that watches it.
pub struct Watching {
    pub server: ApiServer,
    pub seen: Seen,
    dir: tempfile::TempDir,
}

/// A source, and what it gave last.
pub struct Seen {
    cluster: Cluster,
    /// The last state; none before the first.
    pub state: Option<State>,
    /// What is in the way of the first state.
    pub waiting: Vec<Problem>,
    /// How many states there were.
    pub states: usize,
}

impl Seen {
    pub async fn open(kubeconfig: &Path) -> Self {
        let cluster =
            Cluster::open(Some(kubeconfig.to_owned()), "node-1", None).await.expect("access");
        Self { cluster, state: None, waiting: Vec::new(), states: 0 }
    }

    async fn next(&mut self) {
        match self.cluster.next().await.expect("a live source") {
            Update::State(state) => {
                self.states += 1;
                self.state = Some(state.clone());
            }
            Update::Waiting(problems, _) => self.waiting = problems.to_vec(),
        }
    }

    /// Waits for a state that is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&State) -> bool) -> &State {
        let waited = timeout(PATIENCE, async {
            while !self.state.as_ref().is_some_and(&wanted) {
                self.next().await;
            }
        });
        let ended = waited.await;
        let state = self.state.as_ref();
        assert!(ended.is_ok(), "not {what}: {state:#?}, waiting for {:?}", self.waiting);
        state.expect("it is as wanted")
    }

    /// Waits until what is in the way of a first state is as wanted.
    pub async fn until_waiting(&mut self, what: &str, wanted: impl Fn(&[Problem]) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !wanted(&self.waiting) {
                self.next().await;
            }
        });
        assert!(waited.await.is_ok(), "not {what}: {:?}", self.waiting);
    }

    /// Tells the source which Services go without an address.
    pub fn tell(&mut self, clashes: &[Clash]) {
        self.cluster.tell(clashes);
    }

    /// Everything that is told for so long; true where it was nothing.
    pub async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.next()).await.is_err()
    }
}

impl Watching {
    /// A server with a Service and its slice, and a source that has seen them.
    pub async fn start() -> Self {
        let mut watching = Self::start_with(Options::default(), |server| {
            server.put(&service("web", "10.96.0.1")).expect("put");
            server.put(&slice("web", &["10.244.0.1"])).expect("put");
            server.put(&node("node-1", "zone-a")).expect("put");
            server.put(&node("node-2", "zone-b")).expect("put");
        })
        .await;
        watching.until("listed", |state| state.services.len() == 1).await;
        watching
    }

    /// A server that holds what `fill` puts there, and a source that has seen nothing yet.
    pub async fn start_with(options: Options, fill: impl FnOnce(&ApiServer)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let server = ApiServer::start(dir.path(), options).expect("a server");
        fill(&server);
        let seen = Seen::open(&server.kubeconfig()).await;
        Self { server, seen, dir }
    }

    pub async fn until(&mut self, what: &str, wanted: impl Fn(&State) -> bool) -> &State {
        self.seen.until(what, wanted).await
    }

    /// The requests for a kind since request number `from`, those for its lists and its watches.
    pub fn asked(&self, plural: &str, from: usize) -> (usize, usize) {
        let seen = self.server.seen();
        let of_kind = |uri: &&String| uri.contains(&format!("/{plural}?"));
        let uris: Vec<&String> = seen[from..].iter().map(|s| &s.uri).filter(of_kind).collect();
        let initial = |uri: &&&String| !uri.contains("watch=true") || uri.contains("sendInitial");
        let lists = uris.iter().filter(initial).count();
        (lists, uris.len() - lists)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

pub fn service(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]},
    })
}

pub fn slice(service: &str, addresses: &[&str]) -> Value {
    let endpoint = |ip: &&str| json!({"addresses": [ip], "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-1"),
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

pub fn node(name: &str, zone: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    })
}

pub fn id(name: &str) -> ObjectRef {
    ObjectRef { namespace: "default".into(), name: name.into() }
}

/// The addresses of the slice of a Service.
pub fn endpoints(state: &State, service: &str) -> Vec<String> {
    let slice = state.slices.get(&id(&format!("{service}-1")));
    slice.iter().flat_map(|s| &s.endpoints).map(|e| e.address.to_string()).collect()
}
