//! `balancer-agent status`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    print,
};
use crate::{observe::Offline, render, view::StatusQuestion};

const EXAMPLES: &str = "\
Examples:
  balancer-agent status
  balancer-agent status -o wide
  balancer-agent status -o json | jq '.agent.ready'";

/// Show the agent, its programs, the room in the maps and what is not balanced
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let view = args.place.ask(&StatusQuestion {}, Offline::status)?;
    print::result(&render::text(args.place.output, &view, render::status)?)?;
    Ok(if view.is_whole() { Exit::Fine } else { Exit::Failed })
}
