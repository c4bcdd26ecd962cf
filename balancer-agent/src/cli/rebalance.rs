//! `balancer-agent rebalance`.

use anyhow::anyhow;
use clap::ArgGroup;

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    print,
    service::{self, NAMED, Named, Within},
};
use crate::{
    render,
    view::{RebalanceRequest, ShareView},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent rebalance shop/cart --dry-run
  balancer-agent rebalance shop/cart
  balancer-agent rebalance shop/cart --dry-run -o json | jq '.moves | length'

The fewest connections that restore a difference of one at most are ended, those that were quiet
longest first; their clients open them again, on the backends with the fewest. Where agents tell each other
what they have, those of all nodes count, and each node whose Service has rebalance: true ends its own; this
node does so whatever the annotations say, and beyond the budget. With --dry-run the steward of the Service says
which node would end how many at which backend, and where they would go. With --node this node does all by its
own counts.";

/// Where a steward does not say which node would end what.
const UNTOLD: &str = "of which nodes these are the steward of the Service does not say: its agent has just begun, \
                      can't be reached, or is of an older version; `balancer-agent peers` shows which \
                      it is";

/// Move connections of a Service to the backends that have fewer
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("which").args(NAMED).required(true))]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    within: Within,

    /// Show what would move and end nothing
    #[arg(long)]
    dry_run: bool,

    /// Count and move the connections of this node alone
    #[arg(long)]
    node: bool,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let named = args.within.service(&args.named)?;
    let service = named.ok_or_else(|| Failure::new(Exit::Usage, anyhow!("name a SERVICE")))?;
    let request = RebalanceRequest {
        namespace: service.namespace().to_owned(),
        service: service.name().to_owned(),
        dry_run: args.dry_run,
        node: args.node,
    };
    // The agent refuses what it does not know, and the nearest names are known only here.
    let view = args.place.tell(&request).map_err(|refused| {
        if refused.exit != Exit::Failed {
            return refused;
        }
        service::known(&args.place, &service).err().unwrap_or(refused)
    })?;
    print::result(&render::text(args.place.output, &view, render::rebalance)?)?;
    for waits in &view.waiting {
        let port = &waits.service_port;
        print::note(&format!(
            "{}/{}: {} rest, and not yet for {}ms",
            port.number, port.protocol, waits.connections, waits.quiet_ms
        ));
    }
    if view.nodes > 1 {
        let surplus = |share: &ShareView| share.connections.saturating_sub(share.target);
        let count = match &view.node_moves {
            Some(moves) => moves.iter().map(|found| found.connections).sum(),
            None => view.backends.iter().map(surplus).sum::<u32>(),
        };
        if args.dry_run && count > 0 && view.node_moves.is_none() {
            print::note(UNTOLD);
        }
        print::note(&match (args.dry_run, count) {
            (_, 0) => format!("of {} nodes every backend has its share: nothing moves", view.nodes),
            (true, count) => format!("would move: {count}, of {} nodes", view.nodes),
            (false, count) => format!(
                "to move within a minute: {count}, of {} nodes, as each finds them at rest",
                view.nodes
            ),
        });
        return Ok(Exit::Fine);
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
