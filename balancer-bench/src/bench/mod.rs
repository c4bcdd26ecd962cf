//! Measurements on the real kernel: each compares variants within one run, by ratios.
//!
//! - [`run`]: one of the benches, as a [`report::Report`]; [`render`] writes it for people, [`chart`] draws it.
//! - [`worker`]: the process that measures, inside a lab; [`job`]: what it is asked.

mod balance;
mod bare;
mod bpf;
pub mod chart;
mod choice;
mod cluster;
mod connect;
mod environment;
mod held;
pub mod job;
mod programs;
mod rebalance;
mod remote;
pub mod render;
pub mod report;
mod rounds;
mod scale;
mod stage;
mod stats;
mod tail;
mod traffic;
mod variant;
pub mod worker;

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use balancer_lab::error::Result;
use clap::ValueEnum;
use indicatif::ProgressBar;

pub use cluster::{Clusters, dial};
pub use environment::Environment;
pub use rebalance::{Moves, Part};
pub use report::Report;
pub use variant::Variant;

/// The measured Service.
const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 80);
/// Where every backend listens.
const BACKEND_PORT: u16 = 8080;
/// Connections and exchanges that are made before a measured loop and not counted: the caches hold
/// what another variant left there.
const WARM_UP: u32 = 100;

/// A bench.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Bench {
    /// Latency and rate of connect(), for balancer and for kube-proxy's rules
    Connect,
    /// Exchanges and throughput over established connections
    Traffic,
    /// Nanoseconds of each eBPF program, by number of backends
    Choice,
    /// How evenly connections opened together come to the backends
    Balance,
    /// Start, changes, memory and idle time of an agent in a large cluster
    Scale,
    /// How soon, and with how few ends, connections that live long come to where they belong
    Rebalance,
    /// How evenly the connections of many nodes come to the backends: with agents, and in simulated
    /// time
    Cluster,
}

/// How long to measure.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Rounds in which every variant has its turn.
    pub rounds: u32,
    /// Connections of a variant in a round.
    pub connects: u32,
    /// Trials of each case of `balance`.
    pub trials: u32,
    /// Numbers of Services to measure with.
    pub services: Vec<u32>,
    /// A larger one, for balancer alone.
    pub many: Option<u32>,
    /// How long an agent with nothing to do is looked at, each time.
    pub idle: Duration,
    /// How much of `rebalance`.
    pub moves: Moves,
    /// How much of `cluster`.
    pub clusters: Clusters,
}

impl Effort {
    /// For figures to be published: some minutes.
    pub fn full() -> Self {
        Self {
            rounds: 100,
            connects: 500,
            trials: 1000,
            services: vec![1, 1000, 10_000],
            many: Some(100_000),
            idle: Duration::from_secs(60),
            moves: Moves::full(),
            clusters: Clusters::full(),
        }
    }

    /// For a first impression: less than a minute.
    pub fn quick() -> Self {
        Self {
            rounds: 25,
            connects: 500,
            trials: 40,
            services: vec![1, 1000],
            many: None,
            idle: Duration::from_secs(5),
            moves: Moves::quick(),
            clusters: Clusters::quick(),
        }
    }
}

/// Measures.
pub fn run(bench: Bench, effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    match bench {
        Bench::Connect => connect::run(effort, progress),
        Bench::Traffic => traffic::run(effort, progress),
        Bench::Choice => choice::run(effort, progress),
        Bench::Balance => balance::run(effort, progress),
        Bench::Scale => scale::run(effort, progress),
        Bench::Rebalance => rebalance::run(effort, progress),
        Bench::Cluster => cluster::run(&effort.clusters, progress),
    }
}

/// A note on a variant that this machine can't show.
fn cannot(variant: Variant) -> String {
    format!(
        "{} is missing: the program is not installed, or the kernel has no support for it.",
        variant.name()
    )
}
