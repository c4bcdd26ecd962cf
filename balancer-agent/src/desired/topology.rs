//! Which of the ready endpoints are near enough. Pure; `availableForTopology` of kube-proxy.

use crate::model::{Endpoint, Node};

/// How far hints let connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// Endpoints with a hint for this node.
    Node(&'a str),
    /// Endpoints with a hint for this zone.
    Zone(&'a str),
    /// All endpoints.
    All,
}

impl<'a> Reach<'a> {
    /// What the hints of all ready endpoints say: hints count only if every one has some and one of
    /// them names where we are. Otherwise they are being changed, or lag behind.
    pub fn of(ready: &[&Endpoint], node: Option<&'a Node>) -> Self {
        let Some(node) = node else { return Self::All };
        let zone = node.zone.as_deref();
        for reach in [Some(Self::Node(&node.name)), zone.map(Self::Zone)].into_iter().flatten() {
            let all_hinted = ready.iter().all(|endpoint| !reach.hints(endpoint).is_empty());
            if all_hinted && ready.iter().any(|endpoint| reach.allows(endpoint)) {
                return reach;
            }
        }
        Self::All
    }

    /// True if connections may go to the endpoint.
    pub fn allows(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Node(here) | Self::Zone(here) => {
                self.hints(endpoint).iter().any(|hint| **hint == *here)
            }
            Self::All => true,
        }
    }

    fn hints(self, endpoint: &Endpoint) -> &[Box<str>] {
        match (self, &endpoint.hints) {
            (Self::Node(_), Some(hints)) => &hints.nodes,
            (Self::Zone(_), Some(hints)) => &hints.zones,
            _ => &[],
        }
    }
}
