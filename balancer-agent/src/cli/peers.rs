//! `balancer-agent peers`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    print,
};
use crate::{render, view::PeersQuestion};

const EXAMPLES: &str = "\
Examples:
  balancer-agent peers
  balancer-agent peers -o wide
  balancer-agent peers -o json | jq '.[] | select(.heard_ms > 3000) | .node'";

/// List the agents of the cluster: who is heard, and who sums what
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let view = args.place.tell(&PeersQuestion {})?;
    print::result(&render::text(args.place.output, view.as_slice(), render::peers)?)?;
    Ok(Exit::Fine)
}
