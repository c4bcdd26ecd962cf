//! `balancer-agent clients`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, Named},
};
use crate::view::{ClientView, ClientsQuestion};

const EXAMPLES: &str = "\
Examples:
  balancer-agent clients
  balancer-agent clients shop/cart
  balancer-agent clients shop/cart -n front --sort-by oldest
  balancer-agent clients -o wide --watch
  balancer-agent clients -o json | jq '.[] | select(.pod == null) | .address'

TCP connections of sockets of this node are counted. What has no pod is of the node itself.";

/// List who has connections from this node: pods, those with the most first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    list: List<ClientView>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    // The namespace of -n is that of the pods, which may dial Services of others.
    let service = args.named.get().map(|service| service.within(args.list.within.namespace()));
    let question = ClientsQuestion {
        namespace: service.as_ref().map(|service| service.namespace().to_owned()),
        service: service.as_ref().map(|service| service.name().to_owned()),
    };
    let mut is_known = false;
    args.list.show(args.place.output, || {
        let found = args.place.look(&question, |maps| maps.clients(&question))?;
        if let Some(service) = service.as_ref().filter(|_| found.0.is_empty() && !is_known) {
            service::known(&args.place, service)?;
        }
        is_known = true;
        Ok(found)
    })
}
