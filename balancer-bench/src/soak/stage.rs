//! The node on which a soak takes place: backends, Services by what their backends do, client pods,
//! an agent.

use std::net::{IpAddr, Ipv4Addr};

use balancer_lab::{
    Agent, Lab, Pod,
    error::Result,
    host,
    manifests::{Manifests, Service},
};

use super::{
    life::{Family, Target, Transport},
    maps::Maps,
    servers::Servers,
    wire::{address, backend, backend6, target_port},
};

/// Backends of most Services.
const BACKENDS: u8 = 3;
/// Sysctls of the clients: every port, used again soon; time-outs after a few seconds.
const CLIENT: [(&str, &str); 5] = [
    ("net/ipv4/ip_local_port_range", "1024 65000"),
    ("net/ipv4/tcp_tw_reuse", "1"),
    ("net/ipv4/tcp_max_tw_buckets", "512"),
    ("net/ipv4/tcp_syn_retries", "1"),
    ("net/ipv4/tcp_fin_timeout", "3"),
];
/// Sysctls of the backends. 0x403: every listener takes data with the SYN.
const SERVER: [(&str, &str); 3] = [
    ("net/ipv4/tcp_max_tw_buckets", "512"),
    ("net/ipv4/tcp_fin_timeout", "3"),
    ("net/ipv4/tcp_fastopen", "1027"),
];
const TARGETS: [Target; 8] = [
    Target::Keep,
    Target::Close,
    Target::Reset,
    Target::Refuse,
    Target::Drop,
    Target::NoRoute,
    Target::Empty,
    Target::One,
];

/// Declared in this order, so that the processes go before the lab.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) agent: Agent,
    pub(super) maps: Maps,
    _servers: Vec<Servers>,
    pub(super) clients: Vec<Pod>,
    pub(super) manifests: Manifests,
    pub(super) lab: Lab,
}

impl Stage {
    /// With so many client pods.
    pub(super) fn build(clients: u8) -> Result<Self> {
        let lab = Lab::create("soak")?;
        let backends = lab.pods((1..=BACKENDS).map(|n| (format!("backend-{n}"), backend(n))))?;
        let pod = |n| (format!("client-{n}"), Ipv4Addr::new(10, 244, 1, n));
        let clients = lab.pods((1..=clients).map(pod))?;
        for (pods, sysctls) in [(&clients, &CLIENT[..]), (&backends, &SERVER[..])] {
            for pod in pods {
                sysctls.iter().try_for_each(|(key, value)| pod.place().set_sysctl(key, value))?;
            }
        }
        let lost = "route add blackhole 10.244.8.0/24\nroute add blackhole fd00:10:244::800/120\n";
        host::ip(Some(lab.node().netns()), lost)?;
        for pod in &clients {
            let none = "route add unreachable 10.244.9.0/24\n\
                        route add unreachable fd00:10:244::900/120\n";
            host::ip(Some(pod.place().netns()), none)?;
        }
        let servers = backends.iter().map(|pod| Servers::start(pod.place()));
        let servers = servers.collect::<Result<_>>()?;
        let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
        services().iter().try_for_each(|service| manifests.write(service).map(drop))?;
        let agent = Agent::start(&lab, manifests.dir(), &[])?;
        let maps = Maps::open(&lab.bpffs().join("balancer"))?;
        Ok(Self { agent, maps, _servers: servers, clients, manifests, lab })
    }
}

/// Every Service.
fn services() -> Vec<Service> {
    let udp =
        [Target::Keep, Target::Drop, Target::NoRoute, Target::Empty, Target::Answer, Target::Echo];
    let tcp = TARGETS.iter().map(|target| (*target, Transport::Tcp));
    let all = tcp.chain(udp.iter().map(|target| (*target, Transport::Udp)));
    let both = all.flat_map(|(target, transport)| {
        [Family::V4, Family::V6].map(|family| service(target, transport, family, BACKENDS))
    });
    both.collect()
}

/// The Services whose backends come and go while connections are made, with so many of them.
pub(super) fn changing(backends: u8) -> [Service; 2] {
    [Family::V4, Family::V6].map(|family| service(Target::Keep, Transport::Tcp, family, backends))
}

fn service(target: Target, transport: Transport, family: Family, backends: u8) -> Service {
    let name = format!("{target:?}-{transport:?}-{family:?}").to_lowercase();
    let at = address(target, transport, family);
    let elsewhere = |subnet: u8, n: u8| -> IpAddr {
        match family {
            Family::V6 => {
                let mut segments = backend6(n).segments();
                segments[7] = u16::from_be_bytes([subnet, n]);
                segments.into()
            }
            _ => Ipv4Addr::new(10, 244, subnet, n).into(),
        }
    };
    let endpoints: Vec<IpAddr> = match target {
        Target::Empty => Vec::new(),
        Target::One => vec![elsewhere(0, 1)],
        Target::Drop => (1..=2).map(|n| elsewhere(8, n)).collect(),
        Target::NoRoute => (1..=2).map(|n| elsewhere(9, n)).collect(),
        _ => (1..=backends).map(|n| elsewhere(0, n)).collect(),
    };
    let port = target_port(target, transport);
    let service = Service::new(&name, at.ip(), at.port(), port, endpoints);
    if transport == Transport::Udp { service.udp() } else { service }
}
