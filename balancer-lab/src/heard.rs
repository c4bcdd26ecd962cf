//! Waits until agents have heard each other.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    Agent,
    error::{Error, Result},
};

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until an agent has heard those of all other nodes; `nodes` counts its own, too.
pub fn await_peers(agent: &Agent, nodes: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = agent.json(&["peers"])?;
        let peers = shown.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_heard = |peer: &&Value| peer["this_node"] == true || peer["heard_ms"].is_u64();
        if peers.iter().filter(is_heard).count() == nodes {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let said = agent.cli(&["peers"])?;
            return Err(Error::Unmet(format!(
                "an agent has not heard all of {nodes} nodes for {PATIENCE:?}:\n{said}"
            )));
        }
    }
}
