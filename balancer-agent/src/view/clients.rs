//! Who has connections, as it is shown.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::question::Question;
use crate::model::ObjectRef;

/// Asks whose connections are open; to every Service where none is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsQuestion {
    /// Namespace of the Service.
    pub namespace: Option<String>,
    /// Name of the Service.
    pub service: Option<String>,
}

impl Question for ClientsQuestion {
    const PATH: &'static str = "/v1/clients";
    type Answer = Vec<ClientView>;
}

/// A pod with TCP connections, or what is no pod: an element of `clients -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// The pod; absent for processes of the node, and when only the maps were read.
    pub pod: Option<ObjectRef>,
    /// Its address; of several the smallest that has connections.
    pub address: IpAddr,
    /// Open connections.
    pub connections: u64,
    /// Backends that they lead to.
    pub backends: u64,
    /// The Services that were dialled.
    pub services: Vec<ClientServiceView>,
    /// Milliseconds since the oldest of them was opened.
    pub oldest_ms: u64,
}

/// Connections of one client to one Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientServiceView {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Open connections.
    pub connections: u64,
}
