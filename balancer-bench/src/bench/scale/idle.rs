//! What an agent takes that has nothing to do.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent, Lab,
    apiserver::Process,
    error::Result,
    manifests::{Manifests, Service},
    usage,
};
use indicatif::ProgressBar;

use super::{ENDPOINTS, objects::Cluster};
use crate::bench::{
    BACKEND_PORT, Effort, VIP,
    held::{Held, listener},
    report::{Cell, Column, Table},
};

/// What passes before: what was under way ends.
const SETTLES: Duration = Duration::from_secs(5);
/// Pods that serve, pods that connect, and processes in each of those.
const PODS: usize = 4;
const CLIENTS: usize = 4;
const PROCESSES: usize = 4;

/// What is there, and the share of one processor.
pub(super) type Share = (String, f64);

/// The share of one processor that an agent takes over so long a time, in percent.
pub(super) fn share(agent: &Agent, over: Duration) -> Result<f64> {
    std::thread::sleep(SETTLES);
    let (start, before) = (Instant::now(), usage::processor_time(agent)?);
    std::thread::sleep(over);
    let taken = usage::processor_time(agent)? - before;
    Ok(taken.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0)
}

pub(super) fn of_services(services: usize) -> String {
    format!("{services} Services")
}

/// Without Services, with fewer than `most`, and with very many connections.
pub(super) fn others(most: usize, effort: &Effort, progress: &ProgressBar) -> Result<Vec<Share>> {
    let connections = effort.moves.connections;
    let mut shares = Vec::new();
    for services in [0, 1000].into_iter().filter(|services| *services < most) {
        let what = of_services(services);
        progress.set_message(format!("nothing to do: {what}"));
        shares.push((what, with_services(services, effort.idle)?));
    }
    let what = format!("{connections} connections");
    progress.set_message(format!("nothing to do: {what}"));
    shares.push((what, with_connections(connections, effort.idle)?));
    Ok(shares)
}

fn with_services(services: usize, over: Duration) -> Result<f64> {
    let lab = Lab::create("bench: idle")?;
    let listen = SocketAddr::from((Ipv4Addr::new(172, 18, 0, 1), 6443));
    let api = Process::start(lab.outside(), &lab.state_dir().join("api"), listen)?;
    for part in Cluster::new(services, ENDPOINTS).all().chunks(1000) {
        api.put(part)?;
    }
    let agent = Agent::start_watching(&lab, &api.kubeconfig(), &[])?;
    share(&agent, over)
}

fn with_connections(connections: usize, over: Duration) -> Result<f64> {
    let lab = Lab::create("bench: idle")?;
    let address = |n: usize| Ipv4Addr::new(10, 244, 0, 2 + n as u8);
    let pods = lab.pods((0..PODS).map(|n| (format!("web-{n}"), address(n))))?;
    let client = |n: usize| (format!("client-{n}"), address(100 + n));
    let clients = lab.pods((0..CLIENTS).map(client))?;
    let listeners = pods.iter().map(|pod| listener(pod, connections));
    let _listeners = listeners.collect::<Result<Vec<_>>>()?;
    let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
    let ips = pods.iter().map(balancer_lab::Pod::ip);
    manifests.write(&Service::new("web", *VIP.ip(), VIP.port(), BACKEND_PORT, ips))?;
    let agent = Agent::start(&lab, manifests.dir(), &[])?;
    let mut held = Vec::new();
    for pod in clients.iter().cycle().take(CLIENTS * PROCESSES) {
        let each = connections / (CLIENTS * PROCESSES);
        held.push(Held::start(pod.place(), VIP.into(), each, &[])?);
    }
    held.iter_mut().try_for_each(Held::opened)?;
    share(&agent, over)
}

pub(super) fn table(shares: &[Share], over: Duration) -> Table {
    let row =
        |(what, share): &Share| vec![what.as_str().into(), Cell::Number(*share, 2), "0.3".into()];
    Table {
        caption: format!("Processor time with nothing to do, over {} s", over.as_secs()),
        columns: vec![
            Column { key: "what", head: "there are" },
            Column { key: "idle_percent", head: "% of one processor" },
            Column { key: "target_percent", head: "target" },
        ],
        rows: shares.iter().map(row).collect(),
    }
}
