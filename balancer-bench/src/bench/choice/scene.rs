//! Where the programs are measured.

use std::net::{Ipv4Addr, SocketAddrV4};

use balancer_lab::{Agent, Lab, error::Result, host, manifests::Service};

use super::{
    BACKENDS,
    addresses::{ADDRESSES, ADDRESSES6, FIRST_ADDRESS, addresses},
    cluster::Cluster,
    outcome::{Sample, Subject},
    ways::{Road, WAYS, Way},
};
use crate::bench::{BACKEND_PORT, programs::Programs, remote::Remote, stage};

/// One pod that answers for every backend, one client, an agent. Declared in this order, so that
/// the processes go before the lab.
pub(super) struct Scene {
    worker: Remote,
    programs: Programs,
    cluster: Cluster,
    _agent: Agent,
    _lab: Lab,
}

impl Scene {
    pub(super) fn build() -> Result<Self> {
        let lab = Lab::create("bench: choice")?;
        let pod = lab.pod("backends", [10, 244, 0, 1].into())?;
        let client = lab.pod("client", [10, 244, 1, 1].into())?;
        for (addresses, pod_ip) in
            [(ADDRESSES, pod.ip().to_string()), (ADDRESSES6, pod.ip6().to_string())]
        {
            let local = ["route", "add", "local", addresses, "dev", "lo"];
            host::run(pod.command("ip").args(local), "")?;
            let via = ["route", "add", addresses, "via", &pod_ip];
            host::run(lab.node().command("ip").args(via), "")?;
        }
        let by_backends = BACKENDS.iter().filter(|&&backends| backends > 0).map(|&n| service(n));
        let services: Vec<Service> = by_backends.chain(WAYS.iter().map(Way::service)).collect();
        let agent = stage::start_agent_on(&lab, &services)?;
        let programs = Programs::find(&agent, &lab)?;
        let cluster = Cluster::open(&lab.bpffs().join("balancer"))?;
        let worker = Remote::start(&lab, &client, &[pod], true)?;
        Ok(Self { worker, programs, cluster, _agent: agent, _lab: lab })
    }

    /// What each program used in one loop.
    pub(super) fn measure(&mut self, subject: Subject, count: u32) -> Result<Sample> {
        if let Subject::Cluster(backends, others) = subject {
            self.cluster.tell(vip(backends), others)?;
        }
        let before = self.programs.usage()?;
        let tcp4 = match subject {
            Subject::Backends(0) => Some(SocketAddrV4::new(FIRST_ADDRESS, BACKEND_PORT)),
            Subject::Backends(backends) | Subject::Cluster(backends, _) => Some(vip(backends)),
            Subject::Way(way) => match way.road {
                Road::Tcp4 => Some(way.target4()),
                Road::Other(usage) => {
                    self.worker.use_sockets(way.target(), usage, count)?;
                    None
                }
            },
        };
        if let Some(target) = tcp4 {
            self.worker.connect(&[target], count, 0, true)?;
        }
        let after = self.programs.usage()?;
        if tcp4.is_some() {
            self.worker.accept(count)?;
        }
        if let Subject::Cluster(backends, _) = subject {
            self.cluster.forget(vip(backends))?;
        }
        let usage = after.iter().zip(&before).map(|(after, before)| after.since(*before)).collect();
        Ok(Sample { connects: count, usage })
    }
}

fn vip(backends: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 0).to_bits() + backends), 80)
}

fn service(backends: u32) -> Service {
    let vip = vip(backends);
    let name = format!("of-{backends}");
    Service::new(&name, *vip.ip(), vip.port(), BACKEND_PORT, addresses(backends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_addresses_of_their_own() {
        assert_eq!(vip(16).to_string(), "10.96.0.16:80");
        let service = service(1024);
        assert_eq!(service.endpoints.last().expect("backends").address, "10.245.4.0");
    }
}
