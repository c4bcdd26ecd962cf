//! `balancer-agent services`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, Named},
};
use crate::view::ServiceView;

const EXAMPLES: &str = "\
Examples:
  balancer-agent services
  balancer-agent services shop/cart -o wide
  balancer-agent services -n shop --sort-by connections
  balancer-agent services -o json | jq '.[] | {name, backends: .backends | length}'";

/// List the balanced Service ports
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    list: List<ServiceView>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let service = args.list.within.service(&args.named)?;
    args.list.show(args.place.output, || service::looked(&args.place, service.as_ref()))
}
