//! What can be wrong with the settings.

use std::net::AddrParseError;

use thiserror::Error;

use super::{FileError, MovingError};
use crate::node;

/// Settings that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The configuration file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// Two places to read Services from.
    #[error("--manifests and --kubeconfig exclude each other: name a folder or a cluster")]
    TwoSources,
    /// A path was given as an empty string.
    #[error("{flag} is empty: give a path, or leave the flag out for the default")]
    EmptyPath {
        /// The flag.
        flag: &'static str,
    },
    /// A node name that Kubernetes would refuse.
    #[error(
        "--node-name {name:?} is no node name: use at most 253 lower-case letters, digits, '-' \
         and '.', as `kubectl get nodes` shows it"
    )]
    NodeName {
        /// What was given.
        name: String,
    },
    /// An address that cannot be parsed.
    #[error("{flag} {value:?} is not ADDRESS:PORT, such as {example}")]
    Address {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        example: &'static str,
        /// What the parser says.
        source: AddrParseError,
    },
    /// Neither a range of addresses nor the one word.
    #[error(
        "--nodeport-addresses {value:?} is no range of addresses: give ranges such as \
         192.0.2.0/24,2001:db8::/32, or one of the words primary and all instead; localhost may \
         stand beside them"
    )]
    NodePortAddresses {
        /// What was given.
        value: String,
    },
    /// No name of a Service.
    #[error(
        "--peers {value:?} is no NAMESPACE/NAME: name the headless Service of the agents, such as \
         kube-system/balancer-agent-peers"
    )]
    Peers {
        /// What was given.
        value: String,
    },
    /// Something is said of peers, and not who they are.
    #[error("{flag} is given and --peers is not: name the headless Service of the agents with it")]
    NoPeers {
        /// The flag.
        flag: &'static str,
    },
    /// A value of `moving` that has no meaning.
    #[error(transparent)]
    Moving(#[from] MovingError),
    /// A capacity that the maps cannot have.
    #[error("{flag} {value} is out of range: use 1 to {max}")]
    Capacity {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: u32,
        /// The most that is possible.
        max: u32,
    },
    /// No cgroup was given and none was found. This is the node's fault, not the user's.
    #[error(transparent)]
    NoCgroup(#[from] node::cgroup::CgroupError),
}
