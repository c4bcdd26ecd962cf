//! `balancer-agent services`.

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    print,
    service::{self, ServiceArg},
};
use crate::render;

const EXAMPLES: &str = "\
Examples:
  balancer-agent services
  balancer-agent services shop/cart -o wide
  balancer-agent services -o json | jq '.[] | {name, backends: .backends | length}'";

/// List the balanced Service ports
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only this Service; NAME alone is in the namespace default
    #[arg(value_name = "NAMESPACE/NAME")]
    service: Option<ServiceArg>,

    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let view = service::chosen(&args.place, args.service.as_ref())?;
    print::result(&render::text(args.place.output, view.as_slice(), render::services)?)?;
    Ok(Exit::Fine)
}
