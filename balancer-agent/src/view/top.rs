//! What `top` shows of each Service port and its backends.

use std::net::IpAddr;

use serde::Serialize;

use super::{BackendState, PortView};

/// What two looks at everything tell: an object of `top -o json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TopView {
    /// When that was, as RFC 3339.
    pub time: String,
    /// Milliseconds since the look before; absent at the first one, where nothing is known by the second.
    pub elapsed_ms: Option<u64>,
    /// True where more connections are open than are looked at: then rates are estimates.
    pub sampled: bool,
    /// The Service ports.
    pub services: Vec<TopServiceView>,
}

/// One Service port. Counts are of this node, where nothing else is said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopServiceView {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// The Service port.
    pub service_port: PortView,
    /// Policy of choice.
    pub policy: String,
    /// Open connections.
    pub connections: u64,
    /// Open connections of all nodes; absent where that is not known.
    pub cluster_active: Option<u64>,
    /// Connections opened a second, those that failed too; absent at the first look.
    pub opened_per_s: Option<f64>,
    /// Connections closed a second, without those that failed.
    pub closed_per_s: Option<f64>,
    /// Connections refused or timed out a second.
    pub failed_per_s: Option<f64>,
    /// Backends that get new connections.
    pub usable: u64,
    /// Fewest connections of a backend that gets new ones: of all nodes where they are known.
    pub least: Option<u64>,
    /// Most of them.
    pub most: Option<u64>,
    /// Most per weight, over the mean per weight; 1 is even. Absent where nothing is open.
    pub skew: Option<f64>,
    /// Connections of the whole Service that the agent has ended within the last minute so that they are
    /// opened again; absent without an agent.
    pub moved: Option<u64>,
    /// Bytes a second that clients sent and servers acknowledged; absent until there are two looks.
    pub rate: Option<f64>,
    /// The largest rate of a usable backend, over their mean.
    pub rate_skew: Option<f64>,
    /// The backends.
    pub backends: Vec<TopBackendView>,
}

/// One backend of a Service port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopBackendView {
    /// Address of the endpoint.
    pub address: IpAddr,
    /// Port of the endpoint.
    pub port: u16,
    /// Node of the endpoint, where that is known.
    pub node: Option<String>,
    /// Whether new connections go there.
    pub state: BackendState,
    /// Its share beside that of others.
    pub weight: u16,
    /// Open connections.
    pub connections: u64,
    /// Open connections of all nodes, where that is known.
    pub cluster_active: Option<u64>,
    /// Connections opened a second.
    pub opened_per_s: Option<f64>,
    /// Connections closed a second, without those that failed.
    pub closed_per_s: Option<f64>,
    /// Connections refused or timed out a second.
    pub failed_per_s: Option<f64>,
    /// Bytes a second that clients sent and it acknowledged.
    pub rate: Option<f64>,
}
