//! `balancer-lab exec`

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use balancer_lab::Lab;

/// Run a command in a pod of a lab that is up, or on its node
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  balancer-lab exec --pod client-1 -- curl -s http://10.96.100.10/\n  \
                  balancer-lab exec -- ip route"
)]
pub(super) struct Arguments {
    /// The lab; not needed if only one is up
    #[arg(long)]
    lab: Option<String>,
    /// The pod; without it the command runs on the node
    #[arg(long)]
    pod: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let place = Lab::find(arguments.lab.as_deref(), arguments.pod.as_deref())?;
    let (program, rest) = arguments.command.split_first().context("no command given")?;
    let error = place.command(program).args(rest).exec();
    Err(error).with_context(|| format!("run {program}"))
}
