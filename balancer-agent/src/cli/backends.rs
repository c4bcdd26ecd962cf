//! `balancer-agent backends`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, Named},
};
use crate::view::ServiceBackendView;

const EXAMPLES: &str = "\
Examples:
  balancer-agent backends
  balancer-agent backends shop/cart
  balancer-agent backends -n shop --sort-by connections --no-headers | tail -1
  balancer-agent backends shop/cart -o json | jq '[.[].active] | add'";

/// List backends with their connections from this node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    list: List<ServiceBackendView>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let service = args.list.within.service(&args.named)?;
    args.list.show(args.place.output, || {
        let (services, away) = service::looked(&args.place, service.as_ref())?;
        Ok((services.into_iter().flat_map(ServiceBackendView::of).collect(), away))
    })
}
