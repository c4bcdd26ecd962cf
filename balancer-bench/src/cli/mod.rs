//! The command line: one verb a file.

mod bench;
mod soak;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measurements of balancer, and the model test of its counts.
///
/// They run in network namespaces and cgroups of their own; the machine's network is not touched.
/// They need root.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(bench::Arguments),
    Soak(soak::Arguments),
    #[command(hide = true)]
    BenchWorker(bench::WorkerArguments),
    /// Open and close connections as standard input says, a line each
    #[command(hide = true)]
    BenchDialer,
    #[command(hide = true)]
    SoakWorker(soak::WorkerArguments),
}

pub(crate) fn run() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Run(arguments) => bench::run(&arguments),
        Verb::Soak(arguments) => soak::run(&arguments),
        Verb::BenchWorker(arguments) => bench::work(arguments),
        Verb::BenchDialer => Ok(balancer_bench::bench::dial()?),
        Verb::SoakWorker(arguments) => soak::work(&arguments),
    }
}
