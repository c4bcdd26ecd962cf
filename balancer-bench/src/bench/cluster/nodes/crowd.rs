//! What very many peers take an agent.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use balancer_agent::{
    desired::PortId,
    maps::identity::Family,
    model::{ObjectRef, Protocol},
    peers::{
        key::Keys,
        name::{NodeId, ServiceId},
        socket::PORT,
    },
};
use balancer_lab::{
    Agent, Cluster,
    error::{Attempt as _, Error, Result},
    heard::await_peers,
    host,
    manifests::{Endpoint, Manifests, PEERS, Service, peer_flags},
    usage::{self, Usage},
};
use indicatif::ProgressBar;

use super::speaker::{FLOOD, Orders, Play, State};
use crate::bench::report::{Cell, Table};

/// Services that all nodes use, and backends of each.
const SERVICES: u8 = 30;
const BACKENDS: u8 = 10;
/// Addresses for measurements between networks (RFC 2544): those of the nodes that are played.
const PLAYED: [u8; 2] = [198, 18];
/// What passes before anything is measured.
const SETTLES: Duration = Duration::from_secs(5);

/// One agent, and all other nodes played; each state is measured for so long a time.
pub(in super::super) fn run(nodes: u16, over: Duration, progress: &ProgressBar) -> Result<Table> {
    progress.set_message(format!("{nodes} nodes, one of them with an agent"));
    let cluster = Cluster::create("bench: many peers", 1)?;
    let manifests = Manifests::create(cluster.state_dir().join("manifests"))?;
    manifests.write_cluster(&cluster)?;
    let services: Vec<(ServiceId, Vec<SocketAddr>)> =
        (1..=SERVICES).map(|number| write(&manifests, number)).collect::<Result<_>>()?;
    let flags = peer_flags(&cluster)?;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut agents = Agent::start_all(cluster.nodes(), manifests.dir(), &flags)?;
    let (Some(agent), Some(node)) = (agents.pop(), cluster.nodes().first()) else {
        return Err(Error::Unmet("a cluster of one node has one agent".into()));
    };
    thread::sleep(SETTLES);
    let alone = Usage::of(&agent)?.own_peak;

    // Whatever goes to the others comes to the thread that plays them.
    let mut route = cluster.outside().command("ip");
    route.args(["route", "add", "local", &format!("{}.{}.0.0/16", PLAYED[0], PLAYED[1])]);
    host::run(route.args(["dev", "lo"]), "")?;
    let socket = cluster.outside().within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
    let socket = socket.attempt("listen as many nodes")?;
    let played: Vec<String> = (2..=nodes).map(|number| format!("played-{number}")).collect();
    publish(&manifests, node, &played)?;
    let key = cluster.state_dir().join("peer-key");
    let ids: Vec<NodeId> = played.iter().map(|name| NodeId::of(name)).collect();
    let play = Play {
        keys: Keys::read(&key).map_err(|error| Error::Unmet(error.to_string()))?,
        agent: NodeId::of(node.name()),
        addr: (node.ip(), PORT).into(),
        nodes: &ids,
        services: &services,
    };
    let orders = Orders::new();
    thread::scope(|scope| {
        let speaker = scope.spawn(|| play.run(&socket, &orders));
        let measured = measure(&agent, nodes, over, &orders);
        orders.give(State::Over);
        speaker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let Measured { quiet, busy, peak, flooded, refused } = measured?;
        let more = peak.saturating_sub(alone) as f64;
        let line = |what: &str, value: f64, unit: &str, target: Cell| {
            vec![what.into(), Cell::Number(value, 2), unit.into(), target]
        };
        Ok(Table::of_targets(
            format!("What an agent takes with {} peers and {SERVICES} Services", nodes - 1),
            vec![
                line("processor, quiet", quiet, "%", Cell::Absent),
                line("processor, every Service changes all the time", busy, "%", "3".into()),
                line(
                    "memory beyond that without peers",
                    more / f64::from(1 << 20),
                    "MiB",
                    "8".into(),
                ),
                line(
                    &format!("processor, quiet, with {FLOOD} forged datagrams a second beside"),
                    flooded - quiet,
                    "% more",
                    "5".into(),
                ),
                line("forged datagrams that it has refused", refused, "/s", Cell::Absent),
            ],
        ))
    })
}

/// What an agent takes, in percent of a processor.
struct Measured {
    quiet: f64,
    busy: f64,
    /// Bytes of memory that it had at most until then.
    peak: u64,
    flooded: f64,
    /// Forged datagrams a second meanwhile.
    refused: f64,
}

fn measure(agent: &Agent, nodes: u16, over: Duration, orders: &Orders) -> Result<Measured> {
    await_peers(agent, nodes.into())?;
    let share = || {
        thread::sleep(SETTLES);
        let (started, before) = (Instant::now(), usage::processor_time(agent)?);
        thread::sleep(over);
        let taken = usage::processor_time(agent)? - before;
        Ok::<_, Error>(taken.as_secs_f64() / started.elapsed().as_secs_f64() * 100.0)
    };
    let quiet = share()?;
    orders.give(State::Busy);
    let (busy, peak) = (share()?, Usage::of(agent)?.own_peak);
    orders.give(State::Flooded);
    let (started, before) = (Instant::now(), forged(agent)?);
    let flooded = share()?;
    let refused = (forged(agent)? - before) / started.elapsed().as_secs_f64();
    Ok(Measured { quiet, busy, peak, flooded, refused })
}

/// Datagrams that it has refused because no key had sealed them.
fn forged(agent: &Agent) -> Result<f64> {
    let status = agent.json(&["status"])?;
    let rejected = status["counts"]["rejected"].as_array().map(Vec::as_slice).unwrap_or_default();
    let forged = rejected.iter().find(|reason| reason["name"] == "forged");
    Ok(forged.and_then(|reason| reason["total"].as_f64()).unwrap_or(f64::NAN))
}

/// Writes a Service.
fn write(manifests: &Manifests, number: u8) -> Result<(ServiceId, Vec<SocketAddr>)> {
    let pods: Vec<Ipv4Addr> =
        (1..=BACKENDS).map(|pod| Ipv4Addr::new(10, 244, 100 + number, pod)).collect();
    let name = format!("web-{number}");
    let service = Service::new(&name, [10, 96, 2, number], 80, 8080, pods.iter().copied());
    manifests.write(&service)?;
    let service = ObjectRef { namespace: service.namespace, name };
    let port = PortId { service, port: "http".into(), protocol: Protocol::Tcp };
    let pods = pods.into_iter().map(|pod| (pod, 8080).into()).collect();
    Ok((ServiceId::of(&port, Family::V4), pods))
}

/// Says that these are the agents' nodes, beside the one that there is.
fn publish(manifests: &Manifests, node: &balancer_lab::Node, played: &[String]) -> Result<()> {
    let (namespace, name) = PEERS.split_once('/').unwrap_or(("default", PEERS));
    let [a, b] = PLAYED;
    let endpoint = |(number, name): (u16, &String)| {
        let [c, d] = number.to_be_bytes();
        Endpoint::ready(Ipv4Addr::new(a, b, c, d)).on(name)
    };
    let others = (1..).zip(played).map(endpoint);
    let service = Service {
        namespace: namespace.into(),
        ports: vec![("peers".into(), PORT, PORT)],
        endpoints: [Endpoint::ready(node.ip()).on(node.name())].into_iter().chain(others).collect(),
        ..Service::headless(name).udp()
    };
    manifests.write(&service).map(drop)
}
