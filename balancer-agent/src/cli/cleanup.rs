//! `balancer-agent cleanup`.

mod everywhere;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{SignalKind, signal},
};

use super::{
    exit::{Exit, Failure},
    print,
};
use crate::{
    api::Client,
    config::{DEFAULT_BPFFS, DEFAULT_SOCKET},
    kernel,
    node::caps::Caps,
    source::kube::Access,
    view::StatusQuestion,
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent cleanup
  balancer-agent cleanup --bpffs /sys/fs/bpf/balancer-test
  balancer-agent cleanup --await kube-system/balancer-cleanup

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

    /// Stay until SIGTERM when all is removed, as the pods of a DaemonSet do
    #[arg(long)]
    stay: bool,

    /// Remove nothing here: wait until the pods of this DaemonSet, which clean nodes, are ready
    #[arg(
        long = "await",
        value_name = "NAMESPACE/NAME",
        value_parser = daemon_set,
        conflicts_with_all = ["bpffs", "socket", "stay"]
    )]
    awaited: Option<(String, String)>,
}

fn daemon_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("a DaemonSet is named as NAMESPACE/NAME".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if let Some((namespace, name)) = &args.awaited {
        return wait(namespace, name);
    }
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
    if args.stay {
        runtime()?.block_on(ended())?;
    }
    Ok(Exit::Fine)
}

fn runtime() -> std::io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Until SIGTERM or SIGINT: the first process of a container ends by neither unless it asks for them.
async fn ended() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn wait(namespace: &str, name: &str) -> Result<Exit, Failure> {
    let nodes = runtime()?.block_on(async {
        let (client, _) = Access::new(None).client().await?;
        everywhere::wait(client, namespace, name, print::note).await
    });
    let nodes = nodes.map_err(|error| Failure::new(Exit::Failed, anyhow!("{error:#}")))?;
    print::result(&format!("{nodes} nodes are clean\n"))?;
    Ok(Exit::Fine)
}

/// An agent whose maps are taken away would go on as if nothing had happened.
fn refuse_beside_an_agent(args: &Args) -> Result<(), Failure> {
    let Ok(status) = runtime()?.block_on(Client::new(&args.socket).ask(&StatusQuestion {})) else {
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
