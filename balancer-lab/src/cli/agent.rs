//! `balancer-lab agent`

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use balancer_lab::{Agent, Lab, host};

/// Ask the agent of a lab that is up: balancer-agent's command line, pointed at that lab
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  balancer-lab agent status\n  balancer-lab agent doctor\n  \
                        balancer-lab agent backends demo/web -o wide")]
pub(super) struct Arguments {
    /// The lab; not needed if only one is up
    #[arg(long)]
    lab: Option<String>,
    /// Verb and flags of balancer-agent
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let lab = arguments.lab.as_deref();
    let place = Lab::find(lab, None)?;
    let program = host::binary("balancer-agent", "BALANCER_AGENT_BIN")?;
    let mut command = place.command(&program);
    command.args(&arguments.arguments);
    command.args(Agent::where_flags_in(&Lab::find_state(lab)?));
    Err(command.exec()).with_context(|| format!("run {}", program.display()))
}
