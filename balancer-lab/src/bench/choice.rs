//! `choice`: nanoseconds that each eBPF program takes, by the number of backends.

use std::net::{Ipv4Addr, SocketAddrV4};

use indicatif::ProgressBar;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::{
    BACKEND_PORT, Effort,
    programs::{PROGRAMS, Programs, Usage},
    remote::Remote,
    report::{Cell, Column, Report, Table},
    stage,
    stats::Spread,
};
use crate::{Agent, Lab, error::Result, host, kubeproxy::ServicePort};

/// Numbers of backends; 0 is an address that is no Service.
const BACKENDS: [u32; 7] = [0, 1, 3, 16, 64, 256, 1024];
/// The addresses of backends: all of them the same pod's.
const ADDRESSES: &str = "10.245.0.0/16";
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 1);
/// Programs by their place in [`PROGRAMS`].
const CONNECT: usize = 0;
const RELEASE: usize = 1;
const TCP: usize = 2;
const PEER: usize = 3;
/// The most that a run may take beyond an empty program, in nanoseconds: program, backends, limit.
const TARGETS: [(usize, u32, f64); 3] =
    [(CONNECT, 16, 450.0), (CONNECT, 1024, 1400.0), (RELEASE, 16, 250.0)];

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    progress.set_message("build");
    let mut bench = Bench::build()?;
    let mut cases: Vec<Case> =
        BACKENDS.iter().map(|&backends| Case { backends, samples: Vec::new() }).collect();
    progress.set_length(u64::from(effort.rounds) * cases.len() as u64);
    let mut order: Vec<usize> = (0..cases.len()).collect();
    for round in 0..=effort.rounds {
        order.shuffle(&mut rand::rng());
        for &index in &order {
            let case = &mut cases[index];
            progress.set_message(format!("{} backends", case.backends));
            let sample = bench.measure(case.backends, effort.connects)?;
            // Round 0 warms up.
            if round > 0 {
                case.samples.push(sample);
                progress.inc(1);
            }
        }
    }
    Ok(Report {
        name: "choice",
        what: format!(
            "what the kernel's own statistics say one run of each program takes, on fresh sockets \
             pinned to one processor; {} rounds of {} connections, shuffled; medians of the \
             rounds. The kernel's clock is in every figure: an empty program, attached beside each and \
             measured in the same connections, is the floor. `tcp` runs at several milestones of a \
             connection, for both of its ends.",
            effort.rounds, effort.connects
        ),
        tables: vec![table(&cases)],
        notes: notes(&cases),
        raw: raw(&cases),
    })
}

/// One pod that answers for every backend, one client, an agent. Declared in this order, so that
/// the processes go before the lab.
struct Bench {
    worker: Remote,
    programs: Programs,
    _agent: Agent,
    _lab: Lab,
}

impl Bench {
    fn build() -> Result<Self> {
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
    fn measure(&mut self, backends: u32, connects: u32) -> Result<Sample> {
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

/// What the programs used in one round.
struct Sample {
    connects: u32,
    /// As [`Programs::usage`].
    usage: Vec<Usage>,
}

impl Sample {
    /// Nanoseconds of one run beyond an empty program.
    fn above(&self, program: usize) -> f64 {
        self.usage[program].each() - self.empty(program)
    }

    fn empty(&self, program: usize) -> f64 {
        self.usage[PROGRAMS.len() + program].each()
    }

    fn runs(&self, program: usize) -> f64 {
        self.usage[program].runs / f64::from(self.connects)
    }

    /// Nanoseconds that opening and closing one connection takes beyond empty programs.
    fn connection(&self) -> f64 {
        let all = [CONNECT, RELEASE, TCP].map(|program| self.above(program) * self.runs(program));
        all.iter().sum()
    }
}

/// A number of backends and its rounds.
struct Case {
    backends: u32,
    samples: Vec<Sample>,
}

impl Case {
    fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        Spread::of(self.samples.iter().map(value)).median
    }
}

fn table(cases: &[Case]) -> Table {
    let whole = |value| Cell::Number(value, 0);
    let row = |case: &Case| {
        let each = |program: usize| whole(case.median(|sample| sample.usage[program].each()));
        let above = |program: usize| whole(case.median(|sample| sample.above(program)));
        let name = match case.backends {
            0 => "no Service".to_owned(),
            1 => "1 backend".to_owned(),
            n => format!("{n} backends"),
        };
        vec![
            Cell::Text(name),
            each(CONNECT),
            above(CONNECT),
            each(RELEASE),
            above(RELEASE),
            each(TCP),
            Cell::Number(case.median(|sample| sample.runs(TCP)), 1),
            each(PEER),
            whole(case.median(Sample::connection)),
        ]
    };
    let floor = |program: usize| {
        let all = cases.iter().flat_map(|case| &case.samples);
        whole(Spread::of(all.map(|sample| sample.empty(program))).median)
    };
    let mut rows = vec![vec![
        "empty programs".into(),
        floor(CONNECT),
        Cell::Absent,
        floor(RELEASE),
        Cell::Absent,
        floor(TCP),
        Cell::Absent,
        floor(PEER),
        Cell::Absent,
    ]];
    rows.extend(cases.iter().map(row));
    let column = |key, head| Column { key, head };
    Table {
        caption: "Nanoseconds of one run".into(),
        columns: vec![
            column("case", "connect to"),
            column("connect4_ns", "connect4"),
            column("connect4_above_ns", "above empty"),
            column("release_ns", "release"),
            column("release_above_ns", "above empty"),
            column("tcp_ns", "tcp"),
            column("tcp_runs", "its runs"),
            column("getpeer4_ns", "getpeer4"),
            column("connection_above_ns", "connection in all, above empty"),
        ],
        rows,
    }
}

fn notes(cases: &[Case]) -> Vec<String> {
    let note = |&(program, backends, limit): &(usize, u32, f64)| {
        let case = cases.iter().find(|case| case.backends == backends)?;
        let reached = case.median(|sample| sample.above(program));
        let word = if reached <= limit { "reached" } else { "missed" };
        Some(format!(
            "Target: {} with {backends} backends at most {limit} ns above an empty program: \
             {reached:.0} ns, {word}.",
            PROGRAMS[program].0
        ))
    };
    TARGETS.iter().filter_map(note).collect()
}

fn raw(cases: &[Case]) -> Value {
    let of_program = |case: &Case, program: usize| -> Value {
        let each = |at: usize| -> Vec<f64> {
            case.samples.iter().map(|sample| sample.usage[at].each()).collect()
        };
        json!({"ns": each(program), "empty_ns": each(PROGRAMS.len() + program)})
    };
    let of_case = |case: &Case| {
        let programs: serde_json::Map<String, Value> = PROGRAMS
            .iter()
            .enumerate()
            .map(|(index, (name, ..))| ((*name).to_owned(), of_program(case, index)))
            .collect();
        json!({"backends": case.backends, "programs": programs})
    };
    cases.iter().map(of_case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_told_from_its_floor() {
        let usage = |nanos, runs| Usage { nanos, runs };
        let sample = Sample {
            connects: 10,
            usage: vec![
                usage(3000.0, 10.0),
                usage(2000.0, 10.0),
                usage(4000.0, 40.0),
                usage(1000.0, 10.0),
                usage(500.0, 10.0),
                usage(500.0, 10.0),
                usage(2000.0, 40.0),
                usage(500.0, 10.0),
            ],
        };
        assert_eq!((sample.above(CONNECT), sample.above(TCP)), (250.0, 50.0));
        assert_eq!((sample.runs(TCP), sample.connection()), (4.0, 250.0 + 150.0 + 200.0));
    }

    #[test]
    fn services_have_addresses_of_their_own() {
        assert_eq!(vip(16).to_string(), "10.96.0.16:80");
        let service = service(1024);
        assert_eq!(service.backends.last().expect("backends").to_string(), "10.245.4.0:8080");
    }
}
