//! `balancer-agent rebalance`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    print,
    service::ServiceArg,
};
use crate::{render, view::RebalanceRequest};

const EXAMPLES: &str = "\
Examples:
  balancer-agent rebalance shop/cart --dry-run
  balancer-agent rebalance shop/cart
  balancer-agent rebalance shop/cart --dry-run -o json | jq '.moves | length'

The fewest connections of this node that restore a difference of one at most are ended, those that
were quiet longest first; their clients open them again, on the backends with the fewest. It is done
whatever the annotations of the Service say, and beyond its budget.";

/// Move connections of a Service to the backends that have fewer
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The Service; NAME alone is in the namespace default
    #[arg(value_name = "SERVICE")]
    service: ServiceArg,

    /// Show what would move and end nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let request = RebalanceRequest {
        namespace: args.service.namespace().to_owned(),
        service: args.service.name().to_owned(),
        dry_run: args.dry_run,
    };
    let view = args.place.tell(&request)?;
    print::result(&render::text(args.place.output, &view, render::rebalance)?)?;
    for waits in &view.waiting {
        let port = &waits.service_port;
        print::note(&format!(
            "{}/{}: {} rest, and not yet for {}ms",
            port.number, port.protocol, waits.connections, waits.quiet_ms
        ));
    }
    let (count, busy) = (view.moves.len(), view.busy);
    print::note(&match (args.dry_run, count, busy) {
        (_, 0, 0) => "every backend has its share: nothing moves".to_owned(),
        (true, count, 0) => format!("would move: {count}"),
        (true, count, busy) => format!("would move: {count}, and {busy} more that are busy now"),
        (false, count, 0) => format!("ended: {count}"),
        (false, count, busy) => {
            format!("ended: {count}; busy, and tried for a minute from now: {busy}")
        }
    });
    Ok(Exit::Fine)
}
