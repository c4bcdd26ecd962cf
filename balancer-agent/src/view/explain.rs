//! What a `connect()` would get, as it is asked for and shown.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{BackendState, PortView, connections::EndView, question::Question};
use crate::model::{ObjectRef, Protocol};

/// What is asked of `explain`. Nothing is opened for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainQuestion {
    /// Address that would be dialled.
    pub address: IpAddr,
    /// Port that would be dialled.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Namespace of the pod that would dial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
    /// Name of that pod; absent for any client of the node that is not opted out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

impl Question for ExplainQuestion {
    const PATH: &'static str = "/v1/explain";
    type Answer = ExplainView;
}

/// `explain -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// Address that would be dialled.
    pub address: IpAddr,
    /// Port that would be dialled.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The pod that would dial; absent for any client that is not opted out.
    pub pod: Option<ObjectRef>,
    /// Name of the verdict, as in `status`.
    pub verdict: String,
    /// Number of the error that `connect()` returns; absent where it goes on.
    pub errno: Option<i32>,
    /// Name of that error, such as `ECONNREFUSED`.
    pub error: Option<String>,
    /// The reason, in a sentence.
    pub why: String,
    /// Who else answers where balancer leaves the connection untouched; absent where it does not.
    pub otherwise: Option<String>,
    /// The Service; absent where the address is none.
    pub service: Option<ObjectRef>,
    /// The Service port.
    pub service_port: Option<PortView>,
    /// `ClusterIP`, `NodePort`, `ExternalIP` or `LoadBalancer`.
    pub frontend: Option<String>,
    /// Policy of choice.
    pub policy: Option<String>,
    /// True where the connections of all nodes count; false where those of this node alone do.
    pub counts_cluster: bool,
    /// The backend that the client had before and stays with (session affinity).
    pub pinned: Option<EndView>,
    /// Backends, those that can be chosen first.
    pub candidates: Vec<CandidateView>,
    /// What the answer depends on.
    pub notes: Vec<String>,
}

/// A backend that may be chosen, or why it may not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateView {
    /// Address of the endpoint.
    pub address: IpAddr,
    /// Port of the endpoint.
    pub port: u16,
    /// Node of the endpoint; absent when only the maps were read.
    pub node: Option<String>,
    /// Whether new connections go there.
    pub state: BackendState,
    /// Share beside that of others.
    pub weight: u16,
    /// Open connections from this node.
    pub own: u32,
    /// Open connections from all nodes, as the choice counts them; absent where it counts this node alone.
    pub cluster: Option<u64>,
    /// Chance that the next connection goes there, from 0 to 1; absent where it is no candidate.
    pub odds: Option<f64>,
}
