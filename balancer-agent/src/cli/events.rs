//! `balancer-agent events`.

use std::time::Duration;

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, Named, ServiceArg},
};
use crate::{
    settings::duration,
    view::{EventView, EventsQuestion},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent events --since 5m
  balancer-agent events shop/cart                   what became of one Service
  balancer-agent events -o json | jq 'map(select(.kind == \"problem\"))'

An agent remembers the last 4,096 changes, and none from before it was started.";

/// List what has changed on this node: Services, endpoints, failures, drains, moves, problems
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    /// Only those that are not older, such as 30s, 5m or 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Duration>,

    #[command(flatten)]
    list: List<EventView>,

    #[command(flatten)]
    place: Where,
}

fn since(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|time| time.as_secs() > 0)
        .ok_or_else(|| "give a time of 1s or more, such as 30s, 5m or 2h".to_owned())
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let within = &args.list.within;
    let service = within.service(&args.named)?;
    let namespace = service.as_ref().map(ServiceArg::namespace).or(within.namespace());
    let question = EventsQuestion {
        since_s: args.since.map(|since| since.as_secs()),
        namespace: namespace.map(str::to_owned),
        service: service.as_ref().map(|service| service.name().to_owned()),
    };
    let mut is_known = false;
    args.list.show(args.place.output, || {
        let events = args.place.tell(&question)?;
        // A Service that is gone has events; one that never was has none.
        if let Some(service) = service.as_ref().filter(|_| events.is_empty() && !is_known) {
            service::known(&args.place, service)?;
        }
        is_known = true;
        Ok((events, None))
    })
}
