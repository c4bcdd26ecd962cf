//! The ClusterIPs of Services, as plans write them.

use std::{collections::BTreeSet, net::IpAddr};

use balancer_common::layout::FrontendKind;

use crate::{
    desired::FrontendAddr,
    model::Protocol,
    plan::{Plan, Write},
};

/// What is dialled at ClusterIPs.
#[derive(Debug)]
pub struct ClusterIps(BTreeSet<(IpAddr, u16, Protocol)>);

impl ClusterIps {
    /// None yet.
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Takes those that the maps hold.
    pub fn take<'a>(&mut self, frontends: impl Iterator<Item = &'a FrontendAddr>) {
        self.0 = frontends.filter(|f| f.kind == FrontendKind::ClusterIp).map(dialled).collect();
    }

    /// Every address.
    pub fn all(&self) -> BTreeSet<IpAddr> {
        self.0.iter().map(|(ip, ..)| *ip).collect()
    }

    /// Follows what a plan adds. Gives the addresses that are new.
    pub fn put(&mut self, plan: &Plan) -> Vec<IpAddr> {
        let put = plan.writes().filter_map(|write| match write {
            Write::PutFrontend { frontend, .. } if frontend.kind == FrontendKind::ClusterIp => {
                Some(dialled(frontend))
            }
            _ => None,
        });
        let mut new = Vec::new();
        for frontend in put {
            if !self.has(frontend.0) {
                new.push(frontend.0);
            }
            self.0.insert(frontend);
        }
        new
    }

    /// Follows what a plan removes. Gives the addresses that no Service has any more.
    pub fn remove(&mut self, plan: &Plan) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        for write in plan.writes() {
            if let Write::RemoveFrontend { frontend } = write
                && self.0.remove(&dialled(frontend))
                && !self.has(frontend.addr.ip())
            {
                gone.push(frontend.addr.ip());
            }
        }
        gone
    }

    fn has(&self, ip: IpAddr) -> bool {
        let from = self.0.range((ip, 0, Protocol::Tcp)..).next();
        from.is_some_and(|(found, ..)| *found == ip)
    }
}

fn dialled(frontend: &FrontendAddr) -> (IpAddr, u16, Protocol) {
    (frontend.addr.ip(), frontend.addr.port(), frontend.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Step;

    fn frontend(kind: FrontendKind, addr: &str) -> FrontendAddr {
        FrontendAddr { kind, addr: addr.parse().unwrap(), protocol: Protocol::Tcp }
    }

    fn plan(put: &[FrontendAddr], removed: &[FrontendAddr]) -> Plan {
        let put = put.iter().map(|frontend| Write::PutFrontend {
            frontend: *frontend,
            service: 1,
            restricted: false,
        });
        let removed = removed.iter().map(|frontend| Write::RemoveFrontend { frontend: *frontend });
        let step = Step { object: String::new(), writes: put.chain(removed).collect() };
        Plan { steps: vec![step], ..Plan::default() }
    }

    #[test]
    fn an_address_is_there_as_long_as_something_is_dialled_at_it() {
        let cluster = |addr| frontend(FrontendKind::ClusterIp, addr);
        let (a80, a81, b80) =
            (cluster("10.0.0.1:80"), cluster("10.0.0.1:81"), cluster("[fd::1]:80"));
        let external = frontend(FrontendKind::ExternalIp, "192.0.2.1:80");
        let mut ips = ClusterIps::new();
        ips.take([a80, external].iter());
        let [a, b]: [IpAddr; 2] = ["10.0.0.1", "fd::1"].map(|ip| ip.parse().unwrap());
        assert_eq!(ips.all(), [a].into());
        assert_eq!(ips.put(&plan(&[a80, a81, b80, external], &[])), [b]);
        assert_eq!(ips.remove(&plan(&[], &[a80, external])), [""; 0].map(|_| a));
        assert_eq!(ips.remove(&plan(&[], &[a81, b80])), [a, b]);
        assert_eq!(ips.all(), [].into());
    }
}
