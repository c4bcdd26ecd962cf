//! The agent as it is shipped: one static binary.

use std::path::PathBuf;

use anyhow::Result;

use crate::{process, setup::Target, workspace::Workspace};

/// The name of the crate, and of its binary.
pub const AGENT: &str = "balancer-agent";

/// Builds it, and says where it is. The eBPF object must be there.
pub fn agent(workspace: &Workspace, target: &Target) -> Result<PathBuf> {
    let mut cargo = workspace.cargo("build");
    // With a target of its own, the other builds of this folder stay as they are.
    cargo.args(["--release", "--locked", "--package", AGENT]);
    target.tell(&mut cargo, workspace);
    process::shown(&mut cargo)?;
    Ok(workspace.target.join(&target.triple).join("release").join(AGENT))
}
