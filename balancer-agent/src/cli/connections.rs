//! `balancer-agent connections`.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use anyhow::anyhow;
use clap_complete::ArgValueCompleter;

use super::{
    complete,
    exit::{Exit, Failure},
    inspect::Where,
    list::List,
    service::{self, Named, ServiceArg},
};
use crate::{
    model::nearest,
    view::{ConnectionView, ServiceView, Wanted},
};

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
    #[command(flatten)]
    named: Named,

    /// Only those to this backend, as ADDRESS or ADDRESS:PORT
    #[arg(long, value_name = "BACKEND", add = ArgValueCompleter::new(complete::backends))]
    backend: Option<BackendArg>,

    /// Only those of this pod, as NAMESPACE/NAME; NAME alone is in the namespace of -n, else in default
    #[arg(long, value_name = "POD", add = ArgValueCompleter::new(complete::pods))]
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

impl BackendArg {
    /// Fails where no Service has such a backend, with those that could have been meant.
    fn among(self, services: &[ServiceView]) -> Result<(), Failure> {
        let known = services.iter().flat_map(|service| &service.backends);
        let known = known.map(|backend| SocketAddr::from((backend.address, backend.port)));
        let is_it = |known: SocketAddr| {
            known.ip() == self.address && self.port.is_none_or(|port| port == known.port())
        };
        if known.clone().any(is_it) {
            return Ok(());
        }
        let named = match self.port {
            Some(port) => SocketAddr::from((self.address, port)).to_string(),
            None => self.address.to_string(),
        };
        let other = "`balancer-agent backends` lists those there are";
        let hint = nearest::backend(&named, known, other);
        Err(Failure::new(Exit::Failed, anyhow!("no Service has a backend {named}; {hint}")))
    }
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
    let service = args.list.within.service(&args.named)?;
    let pod = args.pod.as_ref().map(|pod| pod.within(args.list.within.namespace()));
    let namespace = service.as_ref().map(ServiceArg::namespace).or(args.list.within.namespace());
    let wanted = Wanted {
        namespace: namespace.map(str::to_owned),
        service: service.as_ref().map(|service| service.name().to_owned()),
        backend: args.backend.map(|backend| backend.address),
        backend_port: args.backend.and_then(|backend| backend.port),
        pod_namespace: pod.as_ref().map(|pod| pod.namespace().to_owned()),
        pod: pod.as_ref().map(|pod| pod.name().to_owned()),
        limit: None,
    };
    let mut is_known = false;
    args.list.show(args.place.output, || {
        let (views, away) = args.place.look(&wanted, |maps| maps.connections(&wanted))?;
        if views.is_empty() && !is_known {
            let services = service::looked(&args.place, service.as_ref())?.0;
            if let Some(backend) = args.backend {
                backend.among(&services)?;
            }
        }
        is_known = true;
        Ok((views, away))
    })
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
