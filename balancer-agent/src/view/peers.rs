//! The agents of other nodes, as they are shown.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::question::Question;
use crate::peers::pace;

/// Whose connections are counted: part of `status -o json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CountsView {
    /// Nodes whose connections are counted, this one among them.
    pub nodes: u64,
    /// Nodes that have an agent.
    pub members: u64,
    /// How many milliseconds old what the others have is on average; absent where nothing is known.
    pub age_ms: Option<u64>,
    /// Why this node counts its own connections alone; absent where it does not.
    pub alone: Option<String>,
    /// Datagrams sent to other agents.
    pub sent_total: u64,
    /// Their bytes, without the headers of IP and UDP.
    pub sent_bytes_total: u64,
    /// Datagrams of other agents that were believed.
    pub received_total: u64,
    /// Their bytes, without the headers of IP and UDP.
    pub received_bytes_total: u64,
    /// Datagrams that had no effect, by reason.
    pub rejected: Vec<TotalView>,
}

impl CountsView {
    /// A node that counts alone.
    pub fn alone(why: &str) -> Self {
        Self { nodes: 1, members: 1, alone: Some(why.to_owned()), ..Self::default() }
    }
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalView {
    /// What.
    pub name: String,
    /// How often.
    pub total: u64,
}

/// Asks for the agents of the cluster; none where this one counts alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersQuestion {}

impl Question for PeersQuestion {
    const PATH: &'static str = "/v1/peers";
    type Answer = Vec<PeerView>;
}

/// The agent of a node: an element of `peers -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Name of the node.
    pub node: String,
    /// Where its agent listens.
    pub address: IpAddr,
    /// Where its agent listens.
    pub port: u16,
    /// True for the agent that was asked.
    pub this_node: bool,
    /// For how many milliseconds it was not heard; absent if it never was.
    pub heard_ms: Option<u64>,
    /// Datagrams sent to it.
    pub sent_total: u64,
    /// Datagrams of it that were believed.
    pub received_total: u64,
    /// Datagrams in its name that had no effect.
    pub rejected_total: u64,
    /// Service ports, in each family of addresses, whose counts it sums; absent where it is not known.
    pub steward_of: Option<u64>,
    /// Connections that it has reported to the agent that was asked, which sums them.
    pub reported: Option<u64>,
    /// The other version that it speaks; absent where it is the same.
    pub version: Option<u8>,
}

impl PeerView {
    /// True where it does not take part, since it was not heard for too long or never, among so many
    /// agents.
    pub fn is_silent(&self, agents: usize) -> bool {
        let longest = pace::heard(agents.saturating_sub(1)).as_millis();
        self.heard_ms.is_none_or(|ms| u128::from(ms) >= longest)
    }
}
