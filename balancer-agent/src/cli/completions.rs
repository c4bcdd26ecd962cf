//! `balancer-agent completions`.

use clap_complete::Shell;

use super::{
    complete,
    exit::{Exit, Failure},
    print,
};

const EXAMPLES: &str = "\
Examples:
  source <(balancer-agent completions bash)
  balancer-agent completions zsh > \"${fpath[1]}/_balancer-agent\"
  balancer-agent completions fish > ~/.config/fish/completions/balancer-agent.fish

Services, namespaces, backends and pods are completed as well: the script asks this binary, and that
the agent or its maps, at --socket and --bpffs where the line names them.";

/// Print a script that completes commands in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    print::result(&String::from_utf8_lossy(&complete::script(args.shell)?))?;
    Ok(Exit::Fine)
}
