//! An agent that shows fixed views.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use balancer_agent::{
    answer::AnswerError,
    api::{self, Answers, Lines},
    maps::MapsError,
    model::ObjectRef,
    view::{
        ClientsQuestion, DrainRequest, DrainsQuestion, EventsQuestion, ExplainQuestion,
        PeersQuestion, RebalanceRequest, ServicesQuestion, StatusQuestion, TraceQuestion,
        TraceView, Wanted,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

/// Where its pins would be.
pub const BPFFS: &str = "/sys/fs/bpf/balancer-double";

/// Serves until it is dropped.
pub struct Double {
    socket: String,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
    _folder: TempDir,
}

impl Double {
    /// Returns once clients can connect.
    pub fn start() -> Self {
        Self::serving(views())
    }

    /// An agent that shows something else.
    pub fn serving<S: Send + Sync + 'static>(answers: Answers<S>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("agent.sock");
        let runtime = Runtime::new().expect("a runtime");
        let (stop, stopped) = watch::channel(false);
        let socket = {
            let _inside = runtime.enter();
            api::bind(&path).expect("a socket")
        };
        runtime.spawn(api::serve(socket, answers, stopped));
        let socket = path.display().to_string();
        Self { socket, _stop: stop, _runtime: runtime, _folder: folder }
    }

    /// Where to ask.
    pub fn socket(&self) -> &str {
        &self.socket
    }
}

/// Fixed views of everything.
pub fn views() -> Answers<()> {
    all(1)
}

/// The same, where no connection is open and nothing has happened.
pub fn idle() -> Answers<()> {
    all(0)
}

fn all(connections: usize) -> Answers<()> {
    Answers::of(Arc::new(()))
        .with(|(), _: &StatusQuestion| Ok(view(status(&3.into()))))
        .with(|(), _: &ServicesQuestion| {
            Ok(view(json!([service("shop", "cart", 3), service("default", "api", 0)])))
        })
        .with(move |(), wanted: &Wanted| {
            Ok(view(Value::Array(vec![connection(wanted); connections])))
        })
        .with(move |(), _: &ClientsQuestion| {
            if connections == 0 {
                return Ok(Vec::new());
            }
            Ok(view(json!([{
                "pod": {"namespace": "front", "name": "web-1"}, "address": "10.0.0.9",
                "connections": 3, "backends": 1, "oldest_ms": 5000,
                "services": [{"namespace": "shop", "service": "cart", "connections": 3}],
            }])))
        })
        .with(|(), question: &ExplainQuestion| {
            let pod = question
                .pod
                .as_ref()
                .map(|name| json!({"namespace": question.pod_namespace, "name": name}));
            Ok(view(json!({
                "address": question.address.to_canonical(), "port": question.port,
                "protocol": question.protocol, "pod": pod, "verdict": "no-endpoint",
                "errno": 111, "error": "ECONNREFUSED", "why": "none is ready",
                "service": {"namespace": "shop", "name": "cart"}, "counts_cluster": false,
                "candidates": [], "notes": [],
            })))
        })
        .with(|(), _: &PeersQuestion| {
            Ok(view(json!([{
                "node": "worker-2", "address": "192.0.2.2", "port": 10357, "this_node": false,
                "heard_ms": 240, "sent_total": 9, "received_total": 8, "rejected_total": 0,
                "steward_of": 1, "reported": 3, "version": null,
            }])))
        })
        .with(|(), request: &RebalanceRequest| {
            if request.service == "cart" {
                return Ok(view(rebalanced(request.dry_run)));
            }
            let (namespace, name) = (request.namespace.clone(), request.service.clone());
            Err(AnswerError::NotBalanced { service: ObjectRef { namespace, name } })
        })
        .with(|(), request: &DrainRequest| {
            let backend = request.address.to_string();
            if ["10.0.0.1", ENDED].contains(&backend.as_str()) {
                Ok(view(drained(&backend)))
            } else {
                let hint = "did you mean 10.0.0.1:8080?".to_owned();
                Err(AnswerError::NoBackend { backend, hint })
            }
        })
        .with(|(), _: &DrainsQuestion| Ok(view(drained("10.0.0.1"))))
        .with(move |(), question: &EventsQuestion| {
            if connections == 0 {
                return Ok(Vec::new());
            }
            Ok(view(json!([{
                "time": "2026-03-01T12:00:00.000Z", "kind": "endpoints",
                "age_ms": question.since_s.unwrap_or(300) * 1_000, "object": "Service shop/cart",
                "service": {"namespace": "shop", "name": "cart"},
                "message": "port 80/TCP: gone 10.0.0.2:80; now 1 endpoint",
            }])))
        })
        .streaming(|(), _: TraceQuestion| Ok(Told { lines: view(told()), ends: true }))
}

/// An agent whose Service has a connection more each time it is asked, up to `most`.
pub fn growing(most: u32) -> Answers<AtomicU32> {
    Answers::of(Arc::new(AtomicU32::new(0)))
        .with(move |active: &AtomicU32, _: &ServicesQuestion| {
            let next = |now: u32| Some((now + 1).min(most));
            let now = active.fetch_update(SeqCst, SeqCst, next).unwrap_or_default();
            Ok(view(json!([service("shop", "cart", now)])))
        })
        .with(|_: &AtomicU32, _: &Wanted| Ok(Vec::new()))
}

/// An agent whose maps can't be read.
pub fn blind() -> Answers<()> {
    Answers::of(Arc::new(()))
        .with(|(), _: &StatusQuestion| Ok(view(status(&Value::Null))))
        .with(|(), _: &ServicesQuestion| Err(unreadable()))
        .with(|(), _: &Wanted| Err(unreadable()))
        .with(|(), _: &ClientsQuestion| Err(unreadable()))
        .with(|(), _: &RebalanceRequest| Err(unreadable()))
}

fn view<T: DeserializeOwned>(view: Value) -> T {
    serde_json::from_value(view).expect("a view")
}

fn status(connections: &Value) -> Value {
    json!({
        "agent": {
            "version": "0.1.0", "pid": 4321, "node": "worker-1", "uptime_s": 5,
            "source": "folder /m", "ready": true,
        },
        "cgroup": "/sys/fs/cgroup", "bpffs": BPFFS, "programs": [], "capacity": [],
        "connections": connections, "verdicts": [], "problems": [],
    })
}

fn connection(wanted: &Wanted) -> Value {
    let text = |wanted: &Option<String>, other: &str| wanted.clone().unwrap_or(other.to_owned());
    let backend = wanted.backend.map_or("10.0.0.1".to_owned(), |backend| backend.to_string());
    let pod =
        wanted.pod.as_ref().map(|name| json!({"namespace": wanted.pod_namespace, "name": name}));
    json!({
        "namespace": text(&wanted.namespace, "shop"), "service": text(&wanted.service, "cart"),
        "service_port": {"name": "", "number": 80, "protocol": "TCP"},
        "backend": {"address": backend, "port": 8080},
        "client": {"address": "10.0.0.9", "port": 40000},
        "pod": pod,
        "pid": 7, "command": null, "age_ms": 5000, "activity": null,
    })
}

fn rebalanced(dry_run: bool) -> Value {
    let port = json!({"name": "", "number": 80, "protocol": "TCP"});
    let backend = json!({"address": "10.0.0.1", "port": 8080});
    let client = json!({"address": "10.0.0.9", "port": 40000});
    json!({
        "backends": [
            {"service_port": port, "backend": backend, "connections": 3, "target": 2},
        ],
        "moves": [{
            "service_port": port, "backend": backend, "client": client, "pid": 7,
            "reason": "rebalance", "way": "gentle", "idle_ms": 1500,
        }],
        "busy": u64::from(dry_run),
    })
}

/// A backend whose drain somebody ends as soon as it has begun.
pub const ENDED: &str = "10.0.0.5";

fn drained(backend: &str) -> Value {
    json!([{
        "backend": {"address": backend, "port": 8080},
        "services": [{"namespace": "shop", "name": "cart"}],
        "timeout_s": 30, "elapsed_s": 4,
        "connections": u32::from(backend == ENDED),
    }])
}

/// An agent that tells a few lines, and then nothing more.
pub fn silent() -> Answers<()> {
    Answers::of(Arc::new(()))
        .streaming(|(), _: TraceQuestion| Ok(Told { lines: view(told()), ends: false }))
}

/// Lines, and whether they end.
struct Told {
    lines: VecDeque<TraceView>,
    ends: bool,
}

impl Lines for Told {
    type Line = TraceView;

    async fn next(&mut self) -> Option<TraceView> {
        match self.lines.pop_front() {
            None if !self.ends => pending().await,
            line => line,
        }
    }
}

fn told() -> Value {
    let with = |more: Value| {
        let mut line = json!({
            "pid": 42, "dialled": {"address": "10.96.0.10", "port": 80}, "protocol": "TCP",
            "namespace": "shop", "service": "cart",
            "service_port": {"name": "", "number": 80, "protocol": "TCP"},
            "backend": {"address": "10.0.0.1", "port": 8080},
        });
        for (name, value) in more.as_object().expect("an object") {
            line[name] = value.clone();
        }
        line
    };
    let chosen = with(json!({
        "event": "dialled", "time": "2026-03-01T12:00:00.000001Z", "verdict": "balanced",
        "pod": {"namespace": "shop", "name": "frontend"}, "command": "curl",
        "choice": {
            "why": "tie", "policy": "least-connections", "active": 2, "least": 2, "tied": 3,
            "usable": 4, "backends": 5,
        },
    }));
    let ended = with(json!({
        "event": "ended", "time": "2026-03-01T12:00:01.500000Z", "reason": "rebalance",
        "permitted": true, "client": {"address": "10.0.0.9", "port": 40000}, "age_ms": 1500,
        "bytes_sent": 300, "bytes_received": 5000,
    }));
    let dropped = json!({"event": "dropped", "capped": 7, "full": 0, "behind": 0});
    json!([{"event": "begun"}, chosen, dropped, ended])
}

fn unreadable() -> AnswerError {
    let source = io::Error::from_raw_os_error(libc::EPERM);
    MapsError::Call { map: "NAMES", operation: "read", source }.into()
}

fn service(namespace: &str, name: &str, active: u32) -> Value {
    json!({
        "namespace": namespace, "name": name, "policy": "least-connections",
        "port": {"name": "", "number": 80, "protocol": "TCP"},
        "frontends": [
            {"type": "ClusterIP", "address": "10.96.0.10", "port": 80, "protocol": "TCP"},
        ],
        "backends": [{
            "address": "10.0.0.1", "port": 8080, "node": "worker-1", "zone": null,
            "state": "ready", "active": active, "opened_total": 9, "failed_total": 0,
        }],
    })
}
