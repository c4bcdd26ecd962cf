//! `balancer-agent services`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, ServiceArg},
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
    /// Only this Service; NAME alone is in the namespace of -n, else in default
    #[arg(value_name = "NAMESPACE/NAME")]
    service: Option<ServiceArg>,

    #[command(flatten)]
    list: List<ServiceView>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let service = args.list.service(args.service.as_ref())?;
    args.list.show(args.place.output, service::chosen(&args.place, service.as_ref())?)
}
