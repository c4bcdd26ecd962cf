//! Where the programs are measured.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{BACKENDS, outcome::Sample};
use crate::{
    Agent, Lab,
    bench::{BACKEND_PORT, programs::Programs, remote::Remote, stage},
    error::Result,
    host,
    kubeproxy::ServicePort,
};

/// The addresses of backends: all of them the same pod's.
const ADDRESSES: &str = "10.245.0.0/16";
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 1);

/// One pod that answers for every backend, one client, an agent. Declared in this order, so that
/// the processes go before the lab.
pub(super) struct Scene {
    worker: Remote,
    programs: Programs,
    _agent: Agent,
    _lab: Lab,
}

impl Scene {
    pub(super) fn build() -> Result<Self> {
        let lab = Lab::create("bench: choice")?;
        let pod = lab.pod("backends", [10, 244, 0, 1].into())?;
        let client = lab.pod("client", [10, 244, 1, 1].into())?;
        let local = ["route", "add", "local", ADDRESSES, "dev", "lo"];
        host::run(pod.command("ip").args(local), "")?;
        let via = ["route", "add", ADDRESSES, "via", &pod.ip().to_string()];
        host::run(lab.node().command("ip").args(via), "")?;
        let services: Vec<ServicePort> =
            BACKENDS.iter().filter(|&&backends| backends > 0).map(|&n| service(n)).collect();
        let agent = stage::start_agent(&lab, &services)?;
        let programs = Programs::find(&agent, &lab)?;
        let worker = Remote::start(&lab, &client, &[pod], true)?;
        Ok(Self { worker, programs, _agent: agent, _lab: lab })
    }

    /// What each program used in one loop of connections.
    pub(super) fn measure(&mut self, backends: u32, connects: u32) -> Result<Sample> {
        let target = match backends {
            0 => SocketAddrV4::new(FIRST_ADDRESS, BACKEND_PORT),
            _ => vip(backends),
        };
        let before = self.programs.usage()?;
        self.worker.connect(&[target], connects, 0, true)?;
        let after = self.programs.usage()?;
        self.worker.accept(connects)?;
        let usage = after.iter().zip(&before).map(|(after, before)| after.since(*before)).collect();
        Ok(Sample { connects, usage })
    }
}

fn vip(backends: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 0).to_bits() + backends), 80)
}

fn service(backends: u32) -> ServicePort {
    let vip = vip(backends);
    let address = |n| Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + n);
    ServicePort {
        name: format!("bench/of-{backends}:http"),
        address: *vip.ip(),
        port: vip.port(),
        backends: (0..backends).map(|n| SocketAddrV4::new(address(n), BACKEND_PORT)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_addresses_of_their_own() {
        assert_eq!(vip(16).to_string(), "10.96.0.16:80");
        let service = service(1024);
        assert_eq!(service.backends.last().expect("backends").to_string(), "10.245.4.0:8080");
    }
}
