//! A variant ready to be measured: a lab of its own, so that none sees the rules, the connection
//! tracking or the programs of another.

use std::{fs, net::SocketAddrV4};

use balancer_common::{
    layout::{MAX_BACKENDS, MAX_SERVICES},
    policy::Policy,
};
use balancer_lab::{
    Agent, Lab,
    error::{Error, Result},
    host,
    kubeproxy::{self, ServicePort, iptables, nftables},
    manifests::{Manifests, Service},
};
use indicatif::ProgressBar;

use super::{
    BACKEND_PORT, VIP,
    bpf::{Empty, HOOKS},
    remote::Remote,
    variant::Variant,
};

/// Backends of every Service, where a bench does not vary them.
pub(super) const BACKENDS: u8 = 3;
/// Services in one manifest file: `kubectl get -o yaml` would write them all in one.
const SERVICES_PER_FILE: usize = 500;
/// More need larger maps than the agent makes by default.
const LARGE: usize = 30_000;
/// One rule that makes the kernel track connections, as any stateful firewall has.
const TRACKING: &str = "table ip tracking {
    chain forward { type filter hook forward priority filter; ct state invalid drop; }
}";
/// Ports that clients dial from: enough that none is used again while its last connection is still
/// tracked.
const CLIENT_PORTS: &str = "10000 65000";

/// Declared in this order, so that the processes go before the lab.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) variant: Variant,
    /// How balancer chooses.
    pub(super) policy: Policy,
    /// How many Services the node has.
    pub(super) services: u32,
    /// Where clients dial.
    pub(super) targets: Vec<SocketAddrV4>,
    pub(super) worker: Remote,
    /// Held for its programs.
    _agent: Option<Agent>,
    /// The programs that do nothing.
    _empty: Vec<Empty>,
    lab: Lab,
}

/// What a stage consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) variant: Variant,
    /// How many Services the node has, with as many backends each; the measured one is in their
    /// middle.
    pub(super) services: u32,
    pub(super) backends: u8,
    /// Whether the measuring process stays on one processor.
    pub(super) pinned: bool,
    /// How balancer chooses.
    pub(super) policy: Policy,
}

impl Plan {
    /// As most are.
    pub(super) fn new(variant: Variant, services: u32, backends: u8) -> Self {
        Self { variant, services, backends, pinned: true, policy: Policy::LeastConnections }
    }
}

impl Stage {
    /// Builds it; `None` where the machine lacks what the variant needs.
    pub(super) fn build(plan: Plan) -> Result<Option<Self>> {
        let Plan { variant, services, backends, pinned, policy } = plan;
        let lab = Lab::create(&format!("bench: {}", variant.name()))?;
        if !variant.works(lab.node()) {
            return Ok(None);
        }
        let pods = lab.pods((1..=backends).map(|n| (format!("backend-{n}"), address(n))))?;
        let client = lab.pod("client", [10, 244, 1, 1].into())?;
        client.place().set_sysctl("net/ipv4/ip_local_port_range", CLIENT_PORTS)?;
        let direct: Vec<SocketAddrV4> =
            pods.iter().map(|pod| SocketAddrV4::new(pod.ip(), BACKEND_PORT)).collect();
        let agent = balance(&lab, variant, policy, &all(services, &direct))?;
        if variant.tracks() {
            // As short as it goes: otherwise the table is full of what is long closed.
            lab.node().set_sysctl("net/netfilter/nf_conntrack_tcp_timeout_close", "1")?;
        }
        let hooks = if variant == Variant::Empty { &HOOKS[..] } else { &[] };
        let empty = hooks.iter().map(|&(kind, hook)| Empty::attach(lab.cgroup(), kind, hook));
        let empty = empty.collect::<Result<_>>()?;
        let worker = Remote::start(&lab, &client, &pods, pinned)?;
        let targets = if variant.is_balanced() { vec![VIP] } else { direct };
        Ok(Some(Self {
            variant,
            policy,
            services,
            targets,
            worker,
            _agent: agent,
            _empty: empty,
            lab,
        }))
    }

    /// Connections that the node tracks.
    fn tracked(&self) -> Result<u64> {
        let path = "/proc/sys/net/netfilter/nf_conntrack_count";
        let text = self.lab.node().within(|| fs::read_to_string(path))?;
        // Absent where the kernel has no connection tracking, or it was never used.
        Ok(text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }
}

/// A stage of every variant, the balanced ones for each number of Services, and balancer for `many`
/// more, and `loads` times for the first of them: the same programs loaded again are not equally fast. And
/// notes on what could not be built.
pub(super) fn build_all(
    services: &[u32],
    many: Option<u32>,
    loads: usize,
    progress: &ProgressBar,
) -> Result<(Vec<Stage>, Vec<String>)> {
    let unbalanced = Variant::UNBALANCED.map(|variant| (variant, 0));
    let numbers = |variant| match variant {
        Variant::Balancer => {
            let again = services.iter().take(1).cycle().take(loads);
            again.chain(services.iter().skip(1)).copied().chain(many).collect()
        }
        // The number does not matter to what tracking costs.
        Variant::BalancerTracked => services[..1].to_vec(),
        _ => services.to_vec(),
    };
    let balanced = Variant::BALANCED
        .iter()
        .flat_map(|&variant| numbers(variant).into_iter().map(move |n| (variant, n)));
    let wanted: Vec<(Variant, u32)> = unbalanced.into_iter().chain(balanced).collect();
    let (mut stages, mut missing) = (Vec::new(), Vec::new());
    progress.set_length(wanted.len() as u64);
    for (variant, services) in wanted {
        progress.set_message(format!("build: {}, {services} Services", variant.name()));
        match Stage::build(Plan::new(variant, services, BACKENDS))? {
            Some(stage) => stages.push(stage),
            None => missing.push(super::cannot(variant)),
        }
        progress.inc(1);
    }
    missing.dedup();
    Ok((stages, missing))
}

/// Checks that the variants that should not track connections did not.
pub(super) fn check_tracking(stages: &[Stage]) -> Result<()> {
    for stage in stages.iter().filter(|stage| !stage.variant.tracks()) {
        let tracked = stage.tracked()?;
        if tracked > 0 {
            return Err(Error::Unmet(format!(
                "{}: {tracked} connections were tracked where none should be; unload what tracks \
                 connections in every network namespace",
                stage.variant.name()
            )));
        }
    }
    Ok(())
}

fn address(n: u8) -> std::net::Ipv4Addr {
    [10, 244, 0, n].into()
}

/// All Services of the node: the measured one in the middle of others, as rules are searched from
/// the first on.
pub(super) fn all(count: u32, backends: &[SocketAddrV4]) -> Vec<ServicePort> {
    let each = backends.len() as u32;
    let others = count.saturating_sub(1);
    // As many as fit into the maps.
    let each = each.min((MAX_BACKENDS - each) / others.max(1)).max(1);
    let mut services = kubeproxy::filler(others, each);
    let web = ServicePort {
        name: "bench/web:http".into(),
        address: *VIP.ip(),
        port: VIP.port(),
        backends: backends.to_vec(),
    };
    services.insert(services.len() / 2, web);
    services
}

/// Puts in place what balances.
fn balance(
    lab: &Lab,
    variant: Variant,
    policy: Policy,
    services: &[ServicePort],
) -> Result<Option<Agent>> {
    let chosen_by = |port| manifest(port).annotated("balancer-agent/policy", policy.name());
    let start =
        || start_agent_on(lab, &services.iter().map(chosen_by).collect::<Vec<_>>()).map(Some);

    match variant {
        Variant::Direct | Variant::Control | Variant::Empty => {}
        Variant::Conntrack => {
            host::run(lab.node().command("nft").args(["-f", "-"]), TRACKING)?;
        }
        Variant::Balancer => return start(),
        Variant::BalancerTracked => {
            host::run(lab.node().command("nft").args(["-f", "-"]), TRACKING)?;
            return start();
        }
        Variant::IptablesNft => iptables::load(lab.node(), iptables::Variant::Nft, services)?,
        Variant::IptablesLegacy => iptables::load(lab.node(), iptables::Variant::Legacy, services)?,
        Variant::Nftables => nftables::load(lab.node(), services)?,
    }
    Ok(None)
}

/// Starts an agent on these manifests.
pub(super) fn start_agent_on(lab: &Lab, services: &[Service]) -> Result<Agent> {
    let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
    for (index, part) in services.chunks(SERVICES_PER_FILE).enumerate() {
        let documents = part
            .iter()
            .flat_map(|service| [service.service(), service.endpoint_slice()])
            // JSON is YAML, and faster to write.
            .map(|document| format!("---\n{document}\n"));
        manifests.write_text(&format!("services-{index}.yaml"), &documents.collect::<String>())?;
    }
    let [most_services, most_backends] = [MAX_SERVICES, MAX_BACKENDS].map(|most| most.to_string());
    let large = ["--max-services", &*most_services, "--max-backends", &*most_backends];
    let options = if services.len() > LARGE { &large[..] } else { &[] };
    Agent::start(lab, manifests.dir(), options)
}

fn manifest(service: &ServicePort) -> Service {
    let (path, _port_name) = service.name.split_once(':').unwrap_or((&service.name, ""));
    let (namespace, name) = path.split_once('/').unwrap_or(("default", path));
    let endpoints = service.backends.iter().map(|backend| *backend.ip());
    let mut manifest = Service::new(name, service.address, service.port, BACKEND_PORT, endpoints);
    manifest.namespace = namespace.into();
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_service_is_in_the_middle() {
        let backends = ["10.244.0.1:8080".parse().expect("address")];
        for (count, place) in [(1, 0), (2, 0), (1000, 499)] {
            let services = all(count, &backends);
            assert_eq!(services.len(), count as usize);
            assert_eq!(services[place].name, "bench/web:http", "{count}");
        }
    }
}
