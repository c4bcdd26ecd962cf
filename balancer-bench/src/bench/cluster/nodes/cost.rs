//! What it takes agents to tell each other their counts.

use std::{
    thread,
    time::{Duration, Instant},
};

use balancer_lab::{
    Agent,
    error::Result,
    usage::{self, Usage},
};
use indicatif::ProgressBar;
use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    super::{
        engine::Engine,
        workload::{Rows, Steady},
    },
    dialled::Dialled,
    formula::Formula,
    lane::Lane,
    stage::Stage,
};
use crate::bench::report::{Cell, Table};

/// Backends of each Service.
const BACKENDS: usize = 5;
/// Connections that each node opens a second, over all Services.
const OPENS: f64 = 14.0;
/// Life of a connection, in seconds.
const LIFE: f64 = 2.0;
/// What passes before anything is measured.
const SETTLES: Duration = Duration::from_secs(5);

/// What the agents took over some time, each.
struct Taken {
    /// Percent of a processor.
    percent: Vec<f64>,
    /// Sent and received a second, datagrams and bytes with the headers of IPv4 and UDP.
    datagrams: f64,
    bytes: f64,
    /// Bytes by the formula.
    formula: f64,
}

/// With clients that open nothing, and with some that do; over so long a time each.
pub(super) fn run(
    stage: &Stage,
    lanes: &mut [Lane],
    over: Duration,
    progress: &ProgressBar,
) -> Result<Table> {
    let nodes = stage.agents.len();
    let row: Vec<usize> = (0..BACKENDS).collect();
    for lane in lanes.iter() {
        stage.publish(lane, &row)?;
        stage.await_none(lane)?;
    }
    progress.set_message("agents, quiet");
    let mut formula = Formula { nodes, services: lanes.len(), backends: BACKENDS, opens: 0.0 };
    let quiet = measure(stage, over, formula)?;
    progress.set_message("agents, busy");
    formula.opens = OPENS / lanes.len() as f64;
    let busy = thread::scope(|scope| {
        let until = SETTLES + over + SETTLES;
        let clients: Vec<_> = lanes
            .iter_mut()
            .map(|lane| scope.spawn(move || dial(stage, lane, formula, until)))
            .collect();
        let taken = measure(stage, over, formula);
        for client in clients {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        taken
    })?;
    let memory = stage.agents.iter().map(|agent| Ok(Usage::of(agent)?.own_peak as f64));
    let memory = memory.collect::<Result<Vec<f64>>>()?;
    let mut rows = of(&format!("quiet, {} Services", lanes.len()), &quiet, "0.3");
    rows.extend(of(&format!("{OPENS} opens a second of each node"), &busy, "2"));
    rows.push(line("memory of an agent", mean(&memory) / f64::from(1 << 20), "MiB", Cell::Absent));
    Ok(Table::of_targets(format!("What an agent takes with {} peers", nodes - 1), rows))
}

/// Clients of one Service on all nodes.
fn dial(stage: &Stage, lane: &mut Lane, formula: Formula, until: Duration) -> Result<()> {
    let Formula { nodes, backends, opens, .. } = formula;
    let mean = opens * nodes as f64 * LIFE / backends as f64;
    let steady = Steady { nodes, backends, mean, life: LIFE, rows: Rows::All, agents_end: false };
    let world = steady.world();
    let mut dialled = Dialled::new(stage, lane, &world)?;
    let mut engine = Engine::new(world, &mut dialled);
    steady.last(&mut engine, until, &mut StdRng::seed_from_u64(1));
    dialled.finish()
}

fn measure(stage: &Stage, over: Duration, formula: Formula) -> Result<Taken> {
    thread::sleep(SETTLES);
    let agents = &stage.agents;
    let started = Instant::now();
    let before = agents.iter().map(Reading::of).collect::<Result<Vec<_>>>()?;
    thread::sleep(over);
    let seconds = started.elapsed().as_secs_f64();
    let after = agents.iter().map(Reading::of).collect::<Result<Vec<_>>>()?;
    let pairs = || before.iter().zip(&after);
    let each = |value: fn(&Reading) -> f64| {
        pairs().map(|(b, a)| (value(a) - value(b)) / seconds).collect::<Vec<_>>()
    };
    Ok(Taken {
        percent: each(|reading| reading.cpu.as_secs_f64() * 100.0),
        datagrams: mean(&each(|reading| reading.datagrams)),
        bytes: mean(&each(|reading| reading.bytes)),
        formula: formula.bytes(),
    })
}

/// What an agent has taken so far.
struct Reading {
    cpu: Duration,
    datagrams: f64,
    bytes: f64,
}

impl Reading {
    fn of(agent: &Agent) -> Result<Self> {
        const HEADERS: f64 = 28.0;
        let counts = &agent.json(&["status"])?["counts"];
        let count = |name: &str| counts[name].as_f64();
        let both = |sent: &str, received: &str| {
            count(sent).unwrap_or(f64::NAN) + count(received).unwrap_or(f64::NAN)
        };
        let datagrams = both("sent_total", "received_total");
        let bytes = both("sent_bytes_total", "received_bytes_total") + HEADERS * datagrams;
        Ok(Self { cpu: usage::processor_time(agent)?, datagrams, bytes })
    }
}

fn of(when: &str, taken: &Taken, target: &str) -> Vec<Vec<Cell>> {
    let most = taken.percent.iter().copied().fold(0.0, f64::max);
    vec![
        line(&format!("{when}: processor, mean"), mean(&taken.percent), "%", target.into()),
        line("the busiest agent", most, "%", Cell::Absent),
        line("sent and received", taken.datagrams, "datagrams/s", Cell::Absent),
        line("sent and received", taken.bytes, "bytes/s", Cell::Number(taken.formula, 0)),
    ]
}

fn line(what: &str, measured: f64, unit: &str, target: Cell) -> Vec<Cell> {
    vec![what.into(), Cell::Number(measured, 2), unit.into(), target]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
