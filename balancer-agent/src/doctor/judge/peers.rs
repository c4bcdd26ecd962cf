//! The agents of other nodes.

use super::{ok, warn};
use crate::{
    doctor::Finding,
    view::{CountsView, PeerView},
};

/// Peers that are named.
const NAMED: usize = 5;

/// Whose connections are counted. No clock of two nodes is compared, so that none has to be right.
pub(super) fn peers(found: Option<&(CountsView, Vec<PeerView>)>) -> Finding {
    let check = "peers";
    let Some((counts, peers)) = found else {
        return ok(check, "no agent answers on its socket, which would know");
    };
    let named = |wanted: &dyn Fn(&&PeerView) -> bool| {
        let all: Vec<_> = peers.iter().filter(|peer| !peer.this_node).filter(wanted).collect();
        let names: Vec<_> = all.iter().take(NAMED).map(|peer| peer.node.as_str()).collect();
        match all.len().saturating_sub(NAMED) {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    };
    let others = named(&|peer| peer.version.is_some());
    let silent = named(&|peer| peer.is_silent(peers.len()));
    let CountsView { nodes, members, alone, .. } = counts;
    if !others.is_empty() {
        return warn(
            check,
            format!("these speak another version and are refused: {others}"),
            "bring all agents to one version; until then those count apart",
        );
    }
    match alone {
        Some(why) if *members < 2 && peers.len() < 2 => {
            ok(check, format!("this node counts its own connections alone: {why}"))
        }
        None if silent.is_empty() => {
            ok(check, format!("the connections of all {nodes} nodes are counted"))
        }
        None => warn(
            check,
            format!("{nodes} of {members} nodes are heard; silent are {silent}"),
            "see that their agents run and that UDP lets them through (port 10357)",
        ),
        Some(why) => warn(
            check,
            format!("{members} nodes have an agent, and this one counts alone: {why}"),
            "give all agents the same --peer-key, and see that UDP lets them through (port 10357); \
             `balancer-agent peers` shows what is rejected",
        ),
    }
}
