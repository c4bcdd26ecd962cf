//! Moves of connections, as they are shown and asked for.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{EndView, PortView, question::Question};
use crate::model::{ObjectRef, Reason, Way};

/// What is asked of `rebalance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebalanceRequest {
    /// Namespace of the Service.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// True if nothing is to be ended.
    pub dry_run: bool,
    /// True if this node is to move its own connections by its own counts, whatever others have.
    #[serde(default)]
    pub node: bool,
}

impl Question for RebalanceRequest {
    const PATH: &'static str = "/v1/rebalance";
    const CHANGES: bool = true;
    type Answer = RebalanceView;
}

/// `rebalance -o json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebalanceView {
    /// Backends, what they have and should have.
    pub backends: Vec<ShareView>,
    /// Nodes whose connections these are, this one among them. Where there are others, each ends its own as
    /// the steward of the Service port permits.
    #[serde(default)]
    pub nodes: u64,
    /// Connections of this node that are ended, or would be. Where other nodes count, none is named here.
    pub moves: Vec<MoveView>,
    /// What would move of each node where other nodes count, as the stewards say. Absent where nothing
    /// is only shown, and where a steward does not say it.
    #[serde(default)]
    pub node_moves: Option<Vec<NodeMoveView>>,
    /// What rests, and not yet for as long as it must, by Service port and that time.
    #[serde(default)]
    pub waiting: Vec<WaitView>,
    /// How many more should be moved and are busy. They are ended in quiet moments of the minute
    /// that follows.
    pub busy: u64,
}

/// Connections of a Service port that are to be moved and rest, and not yet for its quiet time; or
/// where nothing tells whose turn it is, for a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// The Service port.
    pub service_port: PortView,
    /// How many.
    pub connections: u64,
    /// Milliseconds for which nothing must have moved.
    pub quiet_ms: u64,
}

/// The share of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareView {
    /// The Service port.
    pub service_port: PortView,
    /// The backend.
    pub backend: EndView,
    /// Its connections, without those that are ended and not closed yet.
    pub connections: u32,
    /// How many it should have.
    pub target: u32,
}

/// Connections of a node that would move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMoveView {
    /// The Service port.
    pub service_port: PortView,
    /// The node whose connections they are.
    pub node: String,
    /// Where they lead.
    pub from: EndView,
    /// Where they would lead.
    pub to: EndView,
    /// How many.
    pub connections: u32,
}

/// A connection that is ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveView {
    /// The Service port.
    pub service_port: PortView,
    /// Where it leads.
    pub backend: EndView,
    /// Where it comes from.
    pub client: EndView,
    /// The process that opened it.
    pub pid: u32,
    /// Why it is ended.
    pub reason: Reason,
    /// How.
    pub way: Way,
    /// Milliseconds for which nothing had moved.
    pub idle_ms: u64,
}

/// What is asked of `drain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// Address of the backend.
    pub address: IpAddr,
    /// Its port; all ports of the address where none is named.
    pub port: Option<u16>,
    /// Over how many seconds its connections are ended.
    pub timeout_s: u64,
    /// True to give it new connections again.
    pub cancel: bool,
    /// True to drain it even if a Service then has no backend.
    pub force: bool,
    /// True to drain it on all nodes.
    #[serde(default)]
    pub cluster: bool,
}

/// `drain -o json`: an element for each backend that is drained by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainView {
    /// The backend.
    pub backend: EndView,
    /// Services that have it.
    pub services: Vec<ObjectRef>,
    /// Over how many seconds its connections are ended.
    pub timeout_s: u64,
    /// Seconds since that began.
    pub elapsed_s: u64,
    /// Its open connections.
    pub connections: u32,
    /// Those of them that were ended, and that neither side has closed.
    #[serde(default)]
    pub ended: u32,
    /// The node at which it was asked for on all nodes; absent where it is drained on this one alone.
    #[serde(default)]
    pub by: Option<String>,
    /// What each node has left; none where that was asked for on another node, or for this one alone.
    #[serde(default)]
    pub nodes: Vec<NodeDrainView>,
}

impl DrainView {
    /// Open connections of all nodes that are known to drain it, or of this one.
    pub fn open(&self) -> u64 {
        if self.nodes.is_empty() {
            return self.connections.into();
        }
        self.nodes.iter().filter_map(|node| node.connections).map(u64::from).sum()
    }

    /// Nodes that have not said what they have, or do not drain it.
    pub fn missing(&self) -> impl Iterator<Item = &NodeDrainView> {
        self.nodes.iter().filter(|node| node.connections.is_none() || node.refused)
    }
}

/// What a node has left of a backend that is drained on all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDrainView {
    /// The node.
    pub node: String,
    /// Its open connections; absent where it has said nothing: its agent is of an older version, or can't
    /// be reached.
    pub connections: Option<u32>,
    /// Those of them that were ended, and that neither side has closed.
    pub ended: u32,
    /// Those that were busy when they were looked at.
    pub busy: u32,
    /// Those that were at rest, and not yet for long enough.
    pub resting: u32,
    /// True where it is not drained: a Service would have no backend left there.
    pub refused: bool,
    /// Milliseconds since it said so.
    pub told_ms: Option<u64>,
}

/// The answer is what is drained then.
impl Question for DrainRequest {
    const PATH: &'static str = "/v1/drain";
    const CHANGES: bool = true;
    type Answer = Vec<DrainView>;
}

/// Asks for the backends that are drained by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainsQuestion {}

impl Question for DrainsQuestion {
    const PATH: &'static str = "/v1/drain";
    type Answer = Vec<DrainView>;
}
