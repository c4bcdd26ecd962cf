//! `balancer-agent connections`.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use super::{
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, ServiceArg},
};
use crate::view::{ConnectionView, Wanted};

const EXAMPLES: &str = "\
Examples:
  balancer-agent connections
  balancer-agent connections shop/cart -o wide
  balancer-agent connections --backend 10.244.1.7:8080
  balancer-agent connections --pod shop/frontend-5f7
  balancer-agent connections -n shop --sort-by age
  balancer-agent connections -o json | jq 'map(select(.activity.idle_ms > 600000)) | length'

Every connection of this node is asked about, some microseconds each. Of those from outside
(--outside-traffic of the agent) the client's address is known, and not what they do. UDP is counted,
not listed.";

/// List TCP connections from this node and those from outside: age, what they do, and to which backend
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only those of this Service, as NAMESPACE/NAME; NAME alone is in the namespace of -n, else in default
    #[arg(value_name = "SERVICE", conflicts_with = "service")]
    named: Option<ServiceArg>,

    /// The same
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceArg>,

    /// Only those to this backend, as ADDRESS or ADDRESS:PORT
    #[arg(long, value_name = "BACKEND")]
    backend: Option<BackendArg>,

    /// Only those of this pod, as NAMESPACE/NAME; NAME alone is in the namespace of -n, else in default
    #[arg(long, value_name = "POD")]
    pod: Option<ServiceArg>,

    #[command(flatten)]
    list: List<ConnectionView>,

    #[command(flatten)]
    place: Where,
}

/// `ADDRESS` or `ADDRESS:PORT`, of IPv6 `[ADDRESS]:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackendArg {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

impl FromStr for BackendArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(both) = text.parse::<SocketAddr>() {
            return Ok(Self { address: both.ip(), port: Some(both.port()) });
        }
        let address =
            text.parse().map_err(|_| "give ADDRESS or ADDRESS:PORT, such as 10.0.0.1:80")?;
        Ok(Self { address, port: None })
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let service = args.list.service(args.named.as_ref().or(args.service.as_ref()))?;
    let pod = args.pod.as_ref().map(|pod| pod.within(args.list.namespace()));
    let namespace = service.as_ref().map(ServiceArg::namespace).or(args.list.namespace());
    let wanted = Wanted {
        namespace: namespace.map(str::to_owned),
        service: service.as_ref().map(|service| service.name().to_owned()),
        backend: args.backend.map(|backend| backend.address),
        backend_port: args.backend.and_then(|backend| backend.port),
        pod_namespace: pod.as_ref().map(|pod| pod.namespace().to_owned()),
        pod: pod.as_ref().map(|pod| pod.name().to_owned()),
    };
    let views = args.place.ask(&wanted, |maps| maps.connections(&wanted))?;
    if let Some(service) = service.as_ref().filter(|_| views.is_empty()) {
        service::known(&args.place, service)?;
    }
    args.list.show(args.place.output, views)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_an_address_with_or_without_a_port() {
        for (text, want) in [
            ("10.0.0.1", Some(("10.0.0.1", None))),
            ("10.0.0.1:80", Some(("10.0.0.1", Some(80)))),
            ("fd00::1", Some(("fd00::1", None))),
            ("[fd00::1]:80", Some(("fd00::1", Some(80)))),
            ("web-0", None),
            ("10.0.0.1:", None),
            ("", None),
        ] {
            let want =
                want.map(|(address, port)| BackendArg { address: address.parse().unwrap(), port });
            assert_eq!(text.parse().ok(), want, "{text:?}");
        }
    }
}
