//! What one pass over very many connections takes the agent.

mod log;

use std::net::Ipv4Addr;

use balancer_lab::{Agent, Lab, error::Result, manifests::Manifests};
use indicatif::ProgressBar;
use serde::Serialize;

use self::log::{Log, Pass};
use super::{
    super::{
        VIP,
        held::{Held, listener},
        report::{Cell, Table},
        stats,
    },
    stage::{address, endpoint, service},
};

const PODS: usize = 4;
/// Client pods, and processes that connect in each: none may have more open than a limit of many
/// machines.
const CLIENTS: usize = 4;
const PROCESSES: usize = 4;
/// Connections that are not due; those that are and can't be ended, as an answer is awaited; and
/// those that are and can.
const BUSY: usize = 1_000;
const QUIET: usize = 1_000;
/// Passes that are measured.
const PASSES: usize = 20;
const TARGET_MS: f64 = 200.0;

/// What the passes took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    connections: usize,
    /// Processor time of passes that asked about candidates and ended none, in milliseconds.
    looking: Vec<f64>,
    /// Of the one that ended as many.
    ending: f64,
    ended: usize,
}

/// With so many connections, the candidates among them.
pub(super) fn run(connections: usize, progress: &ProgressBar) -> Result<Outcome> {
    progress.set_length(3);
    progress.set_position(0);
    progress.set_message(format!("pass: {connections} connections"));
    let lab = Lab::create("bench: pass")?;
    let pods = lab.pods((0..PODS).map(|n| (format!("web-{n}"), address(n))))?;
    let client = |n: usize| (format!("client-{n}"), Ipv4Addr::new(10, 244, 0, 100 + n as u8));
    let clients = lab.pods((0..CLIENTS).map(client))?;
    let listeners = pods.iter().map(|pod| listener(pod, connections));
    let _listeners = listeners.collect::<Result<Vec<_>>>()?;
    let manifests = Manifests::create(lab.state_dir().join("manifests"))?;
    let [known, busy, mut quiet] = [0, 1, 2].map(|number| {
        let mut service = service(number, PODS);
        service.endpoints = (0..PODS).map(|pod| endpoint(pod, true)).collect();
        service.annotations.clear();
        service
    });
    let known = known.annotated("balancer-agent/idle-timeout", "1h");
    let busy = busy.annotated("balancer-agent/max-connection-age", "1s");
    for service in [&known, &busy, &quiet] {
        manifests.write(service)?;
    }
    let through = ["env", "RUST_LOG=info,balancer_agent::moves=debug"];
    let agent = Agent::start_through(&lab, manifests.dir(), &through)?;

    let target = |number: u32| (Ipv4Addr::from(u32::from(*VIP.ip()) + number), VIP.port()).into();
    let each = connections.saturating_sub(BUSY + QUIET) / (CLIENTS * PROCESSES);
    let mut held = Vec::new();
    for pod in clients.iter().cycle().take(CLIENTS * PROCESSES) {
        held.push(Held::start(pod.place(), target(0), each, &[])?);
    }
    held.push(Held::start(clients[0].place(), target(1), BUSY, &["--ask"])?);
    held.push(Held::start(clients[1].place(), target(2), QUIET, &[])?);
    held.iter_mut().try_for_each(Held::opened)?;
    progress.inc(1);

    progress.set_message("pass: looking");
    let mut log = Log::open(&agent)?;
    let open = each * CLIENTS * PROCESSES + BUSY;
    let looks = |pass: &Pass| pass.connections >= open && pass.asked >= BUSY && pass.ended == 0;
    let looking = (0..PASSES).map(|_| Ok(log.next("asks about all candidates", looks)?.millis));
    let looking = looking.collect::<Result<Vec<_>>>()?;
    progress.inc(1);

    progress.set_message("pass: ending");
    quiet = quiet.annotated("balancer-agent/max-connection-age", "1s");
    manifests.write(&quiet)?;
    let ending = log.next("ends what is quiet", |pass| pass.ended > 0)?;
    progress.inc(1);
    drop(agent);
    Ok(Outcome { connections: open + QUIET, looking, ending: ending.millis, ended: ending.ended })
}

impl Outcome {
    /// As a table.
    pub(super) fn table(&self) -> Table {
        let mut sorted = self.looking.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let row = |what: &str, part: f64, target: &str| {
            let target = if target.is_empty() { Cell::Absent } else { target.into() };
            vec![what.into(), Cell::Number(part, 1), "ms".into(), target]
        };
        let caption = format!(
            "Pass: processor time, {} connections, {BUSY} of them candidates",
            self.connections
        );
        Table::of_targets(
            caption,
            vec![
                row("a pass, median", stats::quantile(&sorted, 0.5), "200"),
                row("longest", stats::quantile(&sorted, 1.0), "200"),
                row(&format!("one that ends {} connections", self.ended), self.ending, ""),
            ],
        )
    }

    /// What the targets say.
    pub(super) fn note(&self) -> String {
        let longest = self.looking.iter().copied().fold(0.0, f64::max);
        let reached = if longest < TARGET_MS { "reached" } else { "missed" };
        format!(
            "Target: a pass takes less than {TARGET_MS:.0} ms of one processor: at most {longest:.1} \
             in {} passes, {reached}.",
            self.looking.len()
        )
    }
}
