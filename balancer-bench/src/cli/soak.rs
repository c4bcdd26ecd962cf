//! `balancer-bench soak`: the model test of counting, and its workers.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use balancer_bench::soak::{self, Options, worker};
use balancer_lab::signals;
use indicatif::{ProgressBar, ProgressStyle};

/// Let sockets live at random and compare what balancer counts with what is open
///
/// Processes in several pods connect, refuse to wait, are refused, reset and killed, fork, pass
/// descriptors and much more, drawn from a seed. At quiet points the count of every backend must be
/// the number of sockets that the kernel says are connected to it. Ends with the time or the
/// operations, whichever comes first, or with the first difference.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  balancer-bench soak --seconds 60\n  \
                        balancer-bench soak --operations 10000000 --seed 7\n  \
                        balancer-bench soak --crashes 300 --upgrades 100\n  \
                        balancer-bench soak --seconds 600 --pressure 200000 --stalls")]
pub(super) struct Arguments {
    /// End after so many seconds [default: 60; none with --operations, 0 with
    /// --crashes or --upgrades alone]
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// End after so many operations
    #[arg(long, value_name = "N")]
    operations: Option<u64>,
    /// Seed of everything that is drawn [default: drawn, and printed]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Operations of each worker between two quiet points
    #[arg(long, value_name = "N", default_value_t = 5000)]
    batch: u64,
    /// Then kill the agent so often, at any moment, under this load and while it writes changes of a
    /// thousand Services
    #[arg(long, value_name = "N", default_value_t = 0)]
    crashes: u64,
    /// Then start the agent so often from another file, so that every program is replaced
    #[arg(long, value_name = "N", default_value_t = 0)]
    upgrades: u64,
    /// Meanwhile hold so many more sockets open, which fill the table of charges; it has 458,752 places,
    /// and socket memory for each is needed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pressure: u64,
    /// Meanwhile have a pod hold the locks of sockets that are to be ended (Linux 6.9)
    #[arg(long)]
    stalls: bool,
}

/// Carry out as many operations on sockets as each line of input says
#[derive(clap::Args)]
pub(super) struct WorkerArguments {
    /// Seed of the operations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sockets
    #[arg(long, default_value_t = 64)]
    slots: usize,
    /// Instead, only hold what is open as standard input
    #[arg(long)]
    hold: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    signals::watch().context("watch for signals")?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let Arguments { seconds, operations, batch, crashes, upgrades, pressure, stalls, .. } =
        *arguments;
    // What is asked for alone is done alone.
    let seconds = match (seconds, operations) {
        (Some(seconds), _) => seconds,
        (None, Some(_)) => u64::MAX,
        (None, None) if crashes + upgrades > 0 => 0,
        (None, None) => 60,
    };
    let options = Options {
        seed,
        time: Duration::from_secs(seconds),
        operations: operations.unwrap_or(u64::MAX),
        batch,
        crashes,
        upgrades,
        pressure,
        stalls,
    };
    println!("seed {seed}");
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{pos} operations, {per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    let outcome = soak::run(&options, &bar)?;
    bar.finish_and_clear();
    print!("{outcome}");
    if !outcome.is_well() {
        let again = if crashes + upgrades > 0 {
            format!("--crashes {crashes} --upgrades {upgrades}")
        } else {
            format!("--operations {}", outcome.operations)
        };
        bail!(
            "counts and sockets differ; the same operations again: \
             cargo xtask soak --seed {seed} --batch {batch} {again}"
        );
    }
    Ok(())
}

pub(super) fn work(arguments: &WorkerArguments) -> Result<()> {
    if arguments.hold {
        worker::hold()?;
    }
    Ok(worker::run(arguments.seed, arguments.slots)?)
}
