//! `balancer-agent peers`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::Rows,
};
use crate::view::{PeerView, PeersQuestion};

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
    rows: Rows<PeerView>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    args.rows.show(args.place.output, || Ok((args.place.tell(&PeersQuestion {})?, None)))
}
