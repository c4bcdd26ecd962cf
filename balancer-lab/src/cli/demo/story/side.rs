//! The sides of a story.

use serde::Serialize;

/// What balances.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Side {
    /// kube-proxy's rules.
    KubeProxy,
    /// balancer, for new connections alone.
    Starts,
    /// balancer, with moves; on several nodes each decides by its own connections.
    Moves,
    /// The same on several nodes, whose agents decide by the connections of all.
    ClusterMoves,
}

impl Side {
    /// The sides, where all pods are on one node.
    pub(super) const ONE_NODE: [Self; 3] = [Self::KubeProxy, Self::Starts, Self::Moves];
    /// The sides, where the clients are on several.
    pub(super) const SEVERAL_NODES: [Self; 3] = [Self::Starts, Self::Moves, Self::ClusterMoves];

    pub(super) const fn title(self, several_nodes: bool) -> &'static str {
        match self {
            Self::KubeProxy => "kube-proxy (iptables)",
            Self::Starts => "balancer, new connections only",
            Self::Moves if several_nodes => "balancer, moves of each node alone",
            Self::Moves => "balancer, rebalance and drain-timeout",
            Self::ClusterMoves => "balancer, moves of the cluster",
        }
    }

    /// Whether connections are moved.
    pub(super) const fn moves(self) -> bool {
        matches!(self, Self::Moves | Self::ClusterMoves)
    }

    /// Whether the agents of several nodes tell each other what they count.
    pub(super) const fn has_peers(self) -> bool {
        matches!(self, Self::Starts | Self::ClusterMoves)
    }
}
