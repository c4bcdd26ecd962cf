//! `balancer-agent backends`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    print,
    service::{self, ServiceArg},
};
use crate::{render, view::ServiceBackendView};

const EXAMPLES: &str = "\
Examples:
  balancer-agent backends
  balancer-agent backends shop/cart
  balancer-agent backends shop/cart -o json | jq '[.[].active] | add'";

/// List backends with their connections from this node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only those of this Service, as NAMESPACE/NAME; NAME alone is in the namespace default
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceArg>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let services = service::chosen(&args.place, args.service.as_ref())?;
    let view: Vec<_> = services.into_iter().flat_map(ServiceBackendView::of).collect();
    print::result(&render::text(args.place.output, view.as_slice(), render::backends)?)?;
    Ok(Exit::Fine)
}
