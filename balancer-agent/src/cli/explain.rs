//! `balancer-agent explain`.

use std::net::SocketAddr;

use clap::ValueEnum;
use clap_complete::ArgValueCompleter;

use super::{
    complete,
    exit::{Exit, Failure},
    inspect::Where,
    print,
    service::{ServiceArg, Within},
};
use crate::{model::Protocol, observe::Offline, render, view::ExplainQuestion};

const EXAMPLES: &str = "\
Examples:
  balancer-agent explain 10.96.0.10:80
  balancer-agent explain 10.96.0.10:53 --protocol udp --pod shop/frontend-5f7
  balancer-agent explain '[fd00::10]:80' -o json | jq '.candidates[] | {address, odds}'

Nothing is opened or counted. The odds are those of the next connection: each changes them.";

/// Show what connect() to an address would get here and now, and why, without doing it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What would be dialled, of IPv6 as [ADDRESS]:PORT
    #[arg(value_name = "ADDRESS:PORT", value_parser = dialled)]
    dialled: SocketAddr,

    /// Transport protocol
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
    protocol: Transport,

    /// Who would dial, as NAMESPACE/NAME of a pod of this node; NAME alone is in the namespace of -n, else in default
    #[arg(long, value_name = "POD", add = ArgValueCompleter::new(complete::pods))]
    pod: Option<ServiceArg>,

    #[command(flatten)]
    within: Within,

    #[command(flatten)]
    place: Where,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
}

fn dialled(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "give ADDRESS:PORT, such as 10.96.0.10:80 or [fd00::10]:80")
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let pod = args.pod.as_ref().map(|pod| pod.within(args.within.namespace()));
    let question = ExplainQuestion {
        address: args.dialled.ip(),
        port: args.dialled.port(),
        protocol: match args.protocol {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        },
        pod_namespace: pod.as_ref().map(|pod| pod.namespace().to_owned()),
        pod: pod.as_ref().map(|pod| pod.name().to_owned()),
    };
    let view = args.place.ask(&question, |maps: &Offline| maps.explain(&question))?;
    print::result(&render::text(args.place.output, &view, render::explain)?)?;
    Ok(Exit::Fine)
}
