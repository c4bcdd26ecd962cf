//! Connections, as they are shown.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{PortView, question::Question};
use crate::model::ObjectRef;

/// One TCP connection, from this node or from outside: an element of `connections -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// The Service port.
    pub service_port: PortView,
    /// Where it leads.
    pub backend: EndView,
    /// Where it comes from.
    pub client: EndView,
    /// The pod it comes from; absent for those of the node, and when only the maps were read.
    pub pod: Option<ObjectRef>,
    /// What is known of one that comes from outside of the node; absent for others.
    #[serde(default)]
    pub outside: Option<OutsideView>,
    /// The process that opened it; absent for one from outside of the node.
    pub pid: Option<u32>,
    /// The name of that process; absent where it is gone.
    pub command: Option<String>,
    /// Milliseconds since it was opened.
    pub age_ms: u64,
    /// Milliseconds since the agent ended it, where its client has not closed it since; absent for
    /// others, and for what an agent ended that was started anew.
    #[serde(default)]
    pub ended_ms: Option<u64>,
    /// What its socket does; absent where the socket can't be reached.
    pub activity: Option<ActivityView>,
}

/// What is known of a connection from outside of the node, whose sockets are elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideView {
    /// What its client dialled.
    pub dialled: EndView,
    /// `open`, `half-closed` where the server has closed, or `closing`.
    pub state: String,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndView {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl From<SocketAddr> for EndView {
    fn from(end: SocketAddr) -> Self {
        Self { address: end.ip(), port: end.port() }
    }
}

/// What a connection does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityView {
    /// `established`, `half-closed` where the server has closed, `closing`, `connecting` or `other`.
    pub state: String,
    /// Milliseconds for which nothing has moved.
    pub idle_ms: u64,
    /// True where something is under way: unread, not sent, not acknowledged, or asked for and not
    /// answered.
    pub busy: bool,
    /// Bytes that the client sent and the server's kernel has.
    pub bytes_sent: u64,
    /// Bytes that the client's kernel received.
    pub bytes_received: u64,
}

/// Which connections are asked for; all where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Namespace of the Service.
    pub namespace: Option<String>,
    /// Name of the Service.
    pub service: Option<String>,
    /// Address of the backend.
    pub backend: Option<IpAddr>,
    /// Port of the backend.
    pub backend_port: Option<u16>,
    /// Namespace of the client's pod.
    pub pod_namespace: Option<String>,
    /// Name of the client's pod.
    pub pod: Option<String>,
    /// How many at most; of more, always the same ones as long as they are open.
    #[serde(default)]
    pub limit: Option<u64>,
}

impl Wanted {
    /// True where connections to this backend are wanted.
    pub fn takes_backend(&self, backend: SocketAddr) -> bool {
        self.backend.is_none_or(|address| address == backend.ip())
            && self.backend_port.is_none_or(|port| port == backend.port())
    }
}

impl Question for Wanted {
    const PATH: &'static str = "/v1/connections";
    type Answer = Vec<ConnectionView>;
}
