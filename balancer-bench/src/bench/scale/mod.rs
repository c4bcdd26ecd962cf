//! `scale`: what a large cluster costs an agent that watches its API server, from the start to every
//! change.

mod idle;
mod log;
mod objects;
mod rules;
mod start;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant, SystemTime},
};

use balancer_lab::{
    Agent, Lab,
    apiserver::Process,
    error::Result,
    usage::{self, Usage},
};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use self::{log::Log, objects::Cluster};
use super::{
    Effort,
    report::{Cell, Column, Report, Table},
    stats,
};

/// Endpoints of each Service.
const ENDPOINTS: usize = 10;
/// EndpointSlices that change together in a burst.
const BURST: usize = 1000;
/// How many bursts.
const BURSTS: usize = 5;
pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    let services = effort.services.iter().copied().max().unwrap_or(1000) as usize;
    let mut cluster = Cluster::new(services, ENDPOINTS);
    let lab = Lab::create("bench: scale")?;
    let listen = SocketAddr::from((Ipv4Addr::new(172, 18, 0, 1), 6443));
    let api = Process::start(lab.outside(), &lab.state_dir().join("api"), listen)?;
    let changes = effort.connects as usize;
    progress.set_length((services + 3 * changes + BURSTS * BURST) as u64);
    progress.set_message("the cluster");
    for part in cluster.all().chunks(1000) {
        api.put(part)?;
        progress.inc(part.len() as u64 / 2);
    }

    progress.set_message("start");
    // With a quarter more for those that are on their way out.
    let backends = (services * ENDPOINTS * 5 / 4).next_power_of_two().max(1 << 16) - 1;
    let backends = backends.to_string();
    let started = Instant::now();
    let options = ["--log-format", "json", "--max-backends", &backends];
    let agent = Agent::start_watching(&lab, &api.kubeconfig(), &options)?;
    let ready = started.elapsed();
    let mut log = Log::open(&agent)?;
    let filled = log.update()?;
    let peak = Usage::of(&agent)?;

    progress.set_message("changes of one EndpointSlice");
    let mut one = Changes::default();
    for _ in 0..changes {
        let slice = cluster.change_one();
        let asked = SystemTime::now();
        api.put(&[slice])?;
        let done = log.update()?;
        one.in_agent.push(done.micros as f64);
        one.in_all.push(done.after(asked).as_secs_f64() * 1e6);
        progress.inc(1);
    }

    progress.set_message("changes of one Service");
    let mut services_alone = Changes::default();
    let before = usage::processor_time(&agent)?;
    for _ in 0..changes {
        let service = cluster.change_service();
        let asked = SystemTime::now();
        api.put(&[service])?;
        let done = log.update()?;
        services_alone.in_agent.push(done.micros as f64);
        services_alone.in_all.push(done.after(asked).as_secs_f64() * 1e6);
        progress.inc(1);
    }
    let of_service = (usage::processor_time(&agent)? - before).as_secs_f64() * 1e3 / changes as f64;

    progress.set_message("changes of one Service and one EndpointSlice");
    let mut both = Changes::default();
    for _ in 0..changes {
        let objects = [cluster.change_service(), cluster.change_one()];
        let asked = SystemTime::now();
        api.put(&objects)?;
        let first = log.update()?;
        let last = if first.rows() < objects.len() { log.update()? } else { first };
        let since = |start| last.after(start).as_secs_f64() * 1e6;
        both.in_agent.push(since(first.begun()));
        both.in_all.push(since(asked));
        progress.inc(1);
    }

    progress.set_message(format!("bursts of {BURST}"));
    let mut bursts = Changes::default();
    for _ in 0..BURSTS {
        let slices = cluster.change(BURST);
        let asked = SystemTime::now();
        api.put(&slices)?;
        let mut begun = None;
        let (mut seen, mut last) = (0, asked);
        while seen < slices.len() {
            let done = log.update()?;
            begun.get_or_insert(done.begun());
            (seen, last) = (seen + done.rows(), done.at);
        }
        let since = |start| last.duration_since(start).unwrap_or_default().as_secs_f64() * 1e6;
        bursts.in_agent.push(since(begun.unwrap_or(asked)));
        bursts.in_all.push(since(asked));
        progress.inc(BURST as u64);
    }
    let after = Usage::of(&agent)?;

    progress.set_message("nothing to do");
    let mut idle = vec![(idle::of_services(services), idle::share(&agent, effort.idle)?)];
    let maps = usage::map_memory(&lab)?;
    drop(agent);
    drop(api);
    idle.extend(idle::others(services, effort, progress)?);

    let mut first = start::first_connections(progress)?;
    first.sort_unstable();
    let median = first[first.len() / 2];
    let start = vec![
        row("start to all in the maps", Cell::Number(ready.as_secs_f64() * 1e3, 0), "ms", "2,000"),
        row("of which writing to the maps", millis(filled.writing), "ms", "500"),
        row(
            &format!("start to the first balanced connection, {} Services", start::SERVICES),
            Cell::Number(median.as_secs_f64() * 1e3, 0),
            "ms",
            "300",
        ),
        row("resident memory of its own at its peak", mebi(peak.own_peak), "MiB", "64"),
        row("the same after all changes", mebi(after.own_peak), "MiB", ""),
        row("memory of the maps", mebi(maps), "MiB", "64"),
        row("processor time of a change of one Service", Cell::Number(of_service, 2), "ms", "5"),
    ];
    let times = [
        ("one slice", &one, "2"),
        ("one Service", &services_alone, "5"),
        ("one Service and one slice", &both, "5"),
        ("burst", &bursts, "300"),
    ];
    Ok(Report {
        name: "scale",
        what: format!(
            "An agent watches an API server with {services} Services and {} endpoints. It starts; \
             then {changes} EndpointSlices change one after another, as many Services, as many of \
             both at once, and {BURSTS} times {BURST} EndpointSlices. In the agent: from the arrival of the (first) event to the end of the (last) \
             write to the maps. In all: from the request that changes the object.",
            services * ENDPOINTS
        ),
        tables: vec![
            Table::of_targets("A large cluster".into(), start),
            Table {
                caption: "Time of a change".into(),
                columns: vec![
                    Column { key: "change", head: "change" },
                    Column { key: "agent_p50_ms", head: "in the agent, p50 (ms)" },
                    Column { key: "agent_p99_ms", head: "p99 (ms)" },
                    Column { key: "target_p99_ms", head: "target" },
                    Column { key: "all_p50_ms", head: "in all, p50 (ms)" },
                    Column { key: "all_p99_ms", head: "p99 (ms)" },
                ],
                rows: times.iter().map(|(name, times, target)| times.row(name, target)).collect(),
            },
            idle::table(&idle, effort.idle),
            rules::table(&lab, services as u32, ENDPOINTS as u32, progress)?,
        ],
        notes: vec![
            "Memory of its own: anonymous and its binary's pages, without the maps, which are the \
             kernel's and stand in a row of their own although the agent sees them too."
                .into(),
        ],
        raw: json!({
            "one": one.raw(),
            "service": services_alone.raw(),
            "service_and_slice": both.raw(),
            "burst": bursts.raw(),
            "idle_percent": idle,
            "first_connection_us": first.iter().map(Duration::as_micros).collect::<Vec<_>>(),
        }),
    })
}

/// Times in microseconds.
#[derive(Default)]
struct Changes {
    in_agent: Vec<f64>,
    in_all: Vec<f64>,
}

impl Changes {
    fn row(&self, name: &str, target: &str) -> Vec<Cell> {
        let millis = |times: &[f64], part| {
            let mut sorted = times.to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            Cell::Number(stats::quantile(&sorted, part) / 1e3, 2)
        };
        vec![
            name.into(),
            millis(&self.in_agent, 0.5),
            millis(&self.in_agent, 0.99),
            target.into(),
            millis(&self.in_all, 0.5),
            millis(&self.in_all, 0.99),
        ]
    }

    fn raw(&self) -> Value {
        json!({"in_agent_us": self.in_agent, "in_all_us": self.in_all})
    }
}

fn row(what: &str, measured: Cell, unit: &str, target: &str) -> Vec<Cell> {
    let target = if target.is_empty() { Cell::Absent } else { target.into() };
    vec![what.into(), measured, unit.into(), target]
}

fn millis(micros: u64) -> Cell {
    Cell::Number(micros as f64 / 1e3, 0)
}

fn mebi(bytes: u64) -> Cell {
    Cell::Number(bytes as f64 / f64::from(1 << 20), 1)
}
