//! How long after its start an agent's first connection is balanced.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use balancer_lab::{
    Agent, Lab,
    apiserver::Process,
    error::{Attempt as _, Error, Result},
    lines::Lines,
    manifests::Service,
};
use indicatif::ProgressBar;
use serde_json::Value;

use super::objects::Cluster;

/// Services beside the one that is dialled.
pub(super) const SERVICES: usize = 1000;
/// Endpoints of each.
const ENDPOINTS: usize = 10;
/// Starts.
const ROUNDS: usize = 7;
const VIP: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
/// How long a client waits before it tries again, in milliseconds: how exact the times are.
const AGAIN: &str = "2";

/// Starts agents one after another beside a client that dials a Service all the time. Gives how long
/// after each start it was connected.
pub(super) fn first_connections(progress: &ProgressBar) -> Result<Vec<Duration>> {
    let lab = Lab::create("bench: start")?;
    let [server, client] = [("server", [10, 244, 0, 2]), ("client", [10, 244, 0, 3])]
        .map(|(name, ip)| lab.pod(name, ip.into()));
    let (server, client) = (server?, client?);
    let listener = server
        .place()
        .within(|| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)))?
        .attempt("listen in the pod")?;
    let listen = SocketAddr::from((Ipv4Addr::new(172, 18, 0, 1), 6443));
    let api = Process::start(lab.outside(), &lab.state_dir().join("api"), listen)?;
    api.put(&Cluster::new(SERVICES, ENDPOINTS).all())?;
    let web = Service::new("web", VIP, 80, 8080, [server.ip()]);
    api.put(&[web.service(), web.endpoint_slice()])?;

    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        progress.set_message(format!("start {round} of {ROUNDS}"));
        let mut command = Lab::self_command(client.place())?;
        let target = SocketAddr::from((VIP, 80)).to_string();
        command.args(["connect", &target, "--insist", "--timeout-ms", AGAIN]);
        let mut dialling = Lines::start(&mut command, "the client")?;
        let started = SystemTime::now();
        let mut agent = Agent::start_watching(&lab, &api.kubeconfig(), &[])?;
        let said: Value = dialling.answer()?;
        let connected = said["at_us"].as_u64().map(Duration::from_micros);
        let connected = connected.and_then(|at| (UNIX_EPOCH + at).duration_since(started).ok());
        times.push(connected.ok_or_else(|| Error::Unmet(format!("the client said {said}")))?);
        agent.terminate()?;
        agent.cli(&["cleanup"])?;
    }
    drop(listener);
    Ok(times)
}
