//! An agent that shows fixed views.

use std::{io, sync::Arc};

use balancer_agent::{
    api,
    maps::MapsError,
    model::ObjectRef,
    provider::{Provider, ProviderError},
    view::{
        ConnectionView, DrainRequest, DrainView, PeerView, RebalanceRequest, RebalanceView,
        ServiceView, StatusView, Wanted,
    },
};
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
        Self::serving(Views)
    }

    /// An agent that shows something else.
    pub fn serving(provider: impl Provider) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("agent.sock");
        let runtime = Runtime::new().expect("a runtime");
        let (stop, stopped) = watch::channel(false);
        let socket = {
            let _inside = runtime.enter();
            api::bind(&path).expect("a socket")
        };
        runtime.spawn(api::serve(socket, Arc::new(provider), stopped));
        let socket = path.display().to_string();
        Self { socket, _stop: stop, _runtime: runtime, _folder: folder }
    }

    /// Where to ask.
    pub fn socket(&self) -> &str {
        &self.socket
    }
}

struct Views;

impl Provider for Views {
    fn status(&self) -> StatusView {
        let status = json!({
            "agent": {
                "version": "0.1.0", "pid": 4321, "node": "worker-1", "uptime_s": 5,
                "source": "folder /m", "ready": true,
            },
            "cgroup": "/sys/fs/cgroup", "bpffs": BPFFS, "programs": [], "capacity": [],
            "connections": 3, "verdicts": [], "problems": [],
        });
        serde_json::from_value(status).expect("a status")
    }

    fn services(&self) -> Result<Vec<ServiceView>, ProviderError> {
        let services = json!([service("shop", "cart", 3), service("default", "api", 0)]);
        Ok(serde_json::from_value(services).expect("services"))
    }

    fn connections(&self, wanted: &Wanted) -> Result<Vec<ConnectionView>, ProviderError> {
        let connection = json!({
            "namespace": wanted.namespace, "service": wanted.service,
            "service_port": {"name": "", "number": 80, "protocol": "TCP"},
            "backend": {"address": wanted.backend, "port": 8080},
            "client": {"address": "10.0.0.9", "port": 40000},
            "pod": {"namespace": wanted.pod_namespace, "name": wanted.pod},
            "pid": 7, "command": null, "age_ms": 5000, "activity": null,
        });
        Ok(serde_json::from_value(json!([connection])).expect("connections"))
    }

    fn peers(&self) -> Vec<PeerView> {
        let peer = json!({
            "node": "worker-2", "address": "192.0.2.2", "port": 10357, "this_node": false,
            "heard_ms": 240, "sent_total": 9, "received_total": 8, "rejected_total": 0,
            "steward_of": 1, "reported": 3, "version": null,
        });
        serde_json::from_value(json!([peer])).expect("peers")
    }

    fn rebalance(&self, request: &RebalanceRequest) -> Result<RebalanceView, ProviderError> {
        if request.service != "cart" {
            let (namespace, name) = (request.namespace.clone(), request.service.clone());
            return Err(ProviderError::NotBalanced { service: ObjectRef { namespace, name } });
        }
        let port = json!({"name": "", "number": 80, "protocol": "TCP"});
        let backend = json!({"address": "10.0.0.1", "port": 8080});
        let client = json!({"address": "10.0.0.9", "port": 40000});
        let view = json!({
            "backends": [
                {"service_port": port, "backend": backend, "connections": 3, "target": 2},
            ],
            "moves": [{
                "service_port": port, "backend": backend, "client": client, "pid": 7,
                "reason": "rebalance", "way": "gentle", "idle_ms": 1500,
            }],
            "busy": u64::from(request.dry_run),
        });
        Ok(serde_json::from_value(view).expect("a view"))
    }

    fn drain(&self, request: &DrainRequest) -> Result<Vec<DrainView>, ProviderError> {
        let backend = request.address.to_string();
        if backend == "10.0.0.1" {
            Ok(self.drains())
        } else {
            Err(ProviderError::NoBackend { backend })
        }
    }

    fn drains(&self) -> Vec<DrainView> {
        let view = json!([{
            "backend": {"address": "10.0.0.1", "port": 8080},
            "services": [{"namespace": "shop", "name": "cart"}],
            "timeout_s": 30, "elapsed_s": 4, "connections": 0,
        }]);
        serde_json::from_value(view).expect("a view")
    }
}

/// An agent whose maps can't be read.
pub struct Blind;

impl Provider for Blind {
    fn status(&self) -> StatusView {
        StatusView { connections: None, ..Views.status() }
    }

    fn services(&self) -> Result<Vec<ServiceView>, ProviderError> {
        Err(unreadable())
    }

    fn connections(&self, _: &Wanted) -> Result<Vec<ConnectionView>, ProviderError> {
        Err(unreadable())
    }

    fn rebalance(&self, _: &RebalanceRequest) -> Result<RebalanceView, ProviderError> {
        Err(unreadable())
    }

    fn drain(&self, request: &DrainRequest) -> Result<Vec<DrainView>, ProviderError> {
        Views.drain(request)
    }

    fn drains(&self) -> Vec<DrainView> {
        Views.drains()
    }
}

fn unreadable() -> ProviderError {
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
