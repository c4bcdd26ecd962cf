//! `balancer-agent cleanup`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{
    exit::{Exit, Failure},
    print,
};
use crate::{
    api::Client,
    config::{DEFAULT_BPFFS, DEFAULT_SOCKET},
    kernel,
    node::caps::Caps,
    view::StatusQuestion,
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent cleanup
  balancer-agent cleanup --bpffs /sys/fs/bpf/balancer-test

Connections that are open stay open; new ones are no longer balanced.";

/// Detach the programs and remove the pins
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folder of the pins
    #[arg(long, value_name = "PATH", default_value = DEFAULT_BPFFS)]
    bpffs: PathBuf,

    /// Socket of the agent, which must not be running
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if !Caps::current().bpf {
        let why = anyhow!("this process lacks CAP_BPF: run it as root");
        return Err(Failure::new(Exit::Lacking, why));
    }
    refuse_beside_an_agent(args)?;
    let removed = kernel::cleanup(&args.bpffs)?;
    let folder = args.bpffs.display();
    print::result(&match (removed.links, removed.maps) {
        (0, 0) => format!("nothing to remove below {folder}\n"),
        (links, maps) => format!("removed {links} links and {maps} maps below {folder}\n"),
    })?;
    Ok(Exit::Fine)
}

/// An agent whose maps are taken away would go on as if nothing had happened.
fn refuse_beside_an_agent(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Ok(status) = runtime.block_on(Client::new(&args.socket).ask(&StatusQuestion {})) else {
        return Ok(());
    };
    match status.agent {
        Some(agent) if Path::new(&status.bpffs) == std::path::absolute(&args.bpffs)? => {
            Err(Failure::new(
                Exit::Failed,
                anyhow!(
                    "the agent is running (pid {}): stop it first, or it would go on without its maps",
                    agent.pid
                ),
            ))
        }
        _ => Ok(()),
    }
}
