//! `balancer-lab churn`

use std::{io, net::SocketAddr};

use anyhow::{Context, Result};
use balancer_lab::churn::Steps;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open and close connections at random, as many steps as each line of input says
#[derive(clap::Args)]
#[command(after_help = "Example:\n  echo 1000 | balancer-lab churn 10.96.0.10:80 --threads 8")]
pub(super) struct Arguments {
    /// Where to connect to
    target: SocketAddr,
    /// An address that refuses, to be tried now and then
    #[arg(long)]
    refusing: Option<SocketAddr>,
    /// Seed of the random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Connections that each thread holds on average
    #[arg(long, default_value_t = 50)]
    held: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let Arguments { target, refusing, seed, threads, held } = *arguments;
    let mut steps = Steps::new(seed, threads, target, refusing, held.max(1));
    for line in io::stdin().lines() {
        let line = line?;
        let count = line.trim().parse().with_context(|| format!("{line:?} is no number"))?;
        println!("{}", serde_json::to_string(&steps.run(count)?)?);
    }
    Ok(())
}
