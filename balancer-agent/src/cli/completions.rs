//! `balancer-agent completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{
    Cli,
    exit::{Exit, Failure},
    print,
};

const EXAMPLES: &str = "\
Examples:
  source <(balancer-agent completions bash)
  balancer-agent completions zsh > \"${fpath[1]}/_balancer-agent\"
  balancer-agent completions fish > ~/.config/fish/completions/balancer-agent.fish";

/// Print a script that completes commands in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "balancer-agent", &mut script);
    print::result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Fine)
}
