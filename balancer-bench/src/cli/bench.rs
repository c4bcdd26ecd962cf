//! `balancer-bench run`: measurements, and the process that measures.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use balancer_bench::bench::{
    self, Bench, Effort, Environment, Part, Report,
    chart::charts,
    render::{self, Form},
    worker::{self, WorkerOptions},
};
use balancer_lab::signals;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Measure balancer beside direct connections and kube-proxy's rules, on this machine
///
/// Every variant has network namespaces and cgroups of its own; nothing outside of them is touched,
/// and all of it is removed at the end. A quiet machine gives better figures; each report says how
/// much noise there was.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  balancer-bench run --quick\n  \
                        balancer-bench run connect\n  \
                        balancer-bench run connect choice --output json > bench.json\n  \
                        balancer-bench run balance --trials 1000\n  \
                        balancer-bench run cluster --nodes 20 --speak 500\n  \
                        balancer-bench run cluster --simulate 100\n  \
                        balancer-bench run rebalance --part calls --ends 170  # a thousand in all\n  \
                        balancer-bench run --output markdown --charts docs/charts  # those of docs/benchmarks.md")]
pub(super) struct Arguments {
    /// What to measure; everything if nothing is named
    #[arg(value_enum, value_name = "NAME")]
    names: Vec<Bench>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Fewer rounds, fewer Services: a first impression in some minutes
    #[arg(long)]
    quick: bool,
    /// Draw charts, too, as SVG files in this folder
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
    /// Rounds in which every variant has its turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Trials of each case of `balance`, of each rollout of `rebalance`, and of each workload of
    /// `cluster`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    trials: Option<u32>,
    /// Measure this part of `rebalance` alone
    #[arg(long, value_enum, value_name = "NAME")]
    part: Option<Part>,
    /// Ends of connections of each kind of calls of `rebalance`, of which there are six
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    ends: Option<u64>,
    /// Run `cluster` with the agents of so many nodes, at most 250; of `--nodes`, `--speak` and
    /// `--simulate` only what is asked for, all where nothing is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=250))]
    nodes: Option<u8>,
    /// Measure what so many nodes take one agent, the others being played
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=5000))]
    speak: Option<u16>,
    /// Simulate the clusters of `cluster` with at most so many nodes; the largest has 2,000
    #[arg(long, value_name = "N")]
    simulate: Option<usize>,
    /// Run only those workloads of `cluster` whose name has this in it
    #[arg(long, value_name = "TEXT")]
    workload: Option<String>,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Output {
    Table,
    Json,
    Markdown,
}

/// Measure inside a lab: jobs come from standard input, answers go to standard output
#[derive(clap::Args)]
pub(super) struct WorkerArguments {
    /// The lab it runs in
    #[arg(long)]
    lab: String,
    /// A pod to listen in; may be repeated
    #[arg(long = "backend", required = true)]
    backends: Vec<String>,
    /// Stay on one processor
    #[arg(long)]
    pinned: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    signals::watch().context("watch for signals")?;
    let mut effort = if arguments.quick { Effort::quick() } else { Effort::full() };
    effort.rounds = arguments.rounds.unwrap_or(effort.rounds);
    effort.trials = arguments.trials.unwrap_or(effort.trials);
    effort.moves.trials = arguments.trials.unwrap_or(effort.moves.trials);
    effort.moves.ends = arguments.ends.unwrap_or(effort.moves.ends);
    effort.moves.only = arguments.part;
    let clusters = &mut effort.clusters;
    clusters.runs = arguments.trials.map_or(clusters.runs, u64::from);
    let (nodes, played, simulated) = (arguments.nodes, arguments.speak, arguments.simulate);
    if nodes.is_some() || played.is_some() || simulated.is_some() {
        clusters.nodes = nodes.map_or(0, usize::from);
        clusters.played = played.unwrap_or(0);
        clusters.simulated_nodes = simulated.unwrap_or(0);
    }
    clusters.only.clone_from(&arguments.workload);
    let names = match arguments.names.as_slice() {
        [] => Bench::value_variants(),
        chosen => chosen,
    };
    let environment = Environment::read()?;
    let form = match arguments.output {
        Output::Table => Some(Form::Plain),
        Output::Markdown => Some(Form::Markdown),
        Output::Json => None,
    };
    if let Some(form) = form {
        print!("{}", render::environment(&environment, form));
    }
    let mut reports = Vec::new();
    for &name in names {
        let progress = progress();
        let report = bench::run(name, &effort, &progress)?;
        progress.finish_and_clear();
        if let Some(folder) = &arguments.charts {
            draw(&report, folder)?;
        }
        match form {
            Some(form) => print!("{}", render::report(&report, form)),
            None => reports.push(report.json()),
        }
    }
    if form.is_none() {
        let all = json!({"environment": environment.json(), "benches": reports});
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(())
}

fn draw(report: &Report, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for (name, svg) in charts(report) {
        let path = folder.join(name);
        fs::write(&path, svg).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

pub(super) fn work(arguments: WorkerArguments) -> Result<()> {
    let WorkerArguments { lab, backends, pinned } = arguments;
    Ok(worker::run(&WorkerOptions { lab, backends, pinned })?)
}

/// A bar on standard error, drawn only on a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30.green} {pos}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar
}
