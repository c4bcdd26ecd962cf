//! `balancer-agent backends`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, ServiceArg},
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
    /// Only those of this Service, as NAMESPACE/NAME; NAME alone is in the namespace of -n, else in default
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceArg>,

    #[command(flatten)]
    list: List<ServiceBackendView>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let service = args.list.service(args.service.as_ref())?;
    let services = service::chosen(&args.place, service.as_ref())?;
    let rows = services.into_iter().flat_map(ServiceBackendView::of).collect();
    args.list.show(args.place.output, rows)
}
