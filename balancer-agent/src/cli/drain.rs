//! `balancer-agent drain`.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    connections::BackendArg,
    exit::{Exit, Failure},
    inspect::Where,
    print,
};
use crate::{
    api::{Client, ClientError},
    render,
    source::moving,
    view::{DrainRequest, DrainView},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent drain                              what is drained
  balancer-agent drain 10.244.1.7 --wait            all ports of a pod, until nothing is open
  balancer-agent drain 10.244.1.7:8080 --timeout 5m
  balancer-agent drain 10.244.1.7 --cancel          new connections go there again

Connections of this node only: those of other nodes are for their agents to drain. An agent that is
started anew has forgotten what was drained.";

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// How long beyond the timeout connections that are busy are waited for.
const MORE: Duration = Duration::from_secs(30);

/// Give a backend no new connections, and end those that are open when they are quiet
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The backend, as ADDRESS or ADDRESS:PORT; without one, list those that are drained
    #[arg(value_name = "BACKEND")]
    backend: Option<BackendArg>,

    /// Over which time its connections are ended, such as 30s or 10m
    #[arg(long, value_name = "TIME", default_value = "30s", requires = "backend", value_parser = timeout)]
    timeout: Duration,

    /// Wait until no connection is left
    #[arg(long, requires = "backend", conflicts_with = "cancel")]
    wait: bool,

    /// Give it new connections again
    #[arg(long, requires = "backend")]
    cancel: bool,

    /// Drain it even if a Service then has no backend and its clients are refused
    #[arg(long, requires = "backend", conflicts_with = "cancel")]
    force: bool,

    #[command(flatten)]
    place: Where,
}

fn timeout(text: &str) -> Result<Duration, String> {
    moving::drain_timeout(text)
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Some(backend) = args.backend else {
        let drains = args.place.tell(Client::drains)?;
        return show(args, &drains);
    };
    let request = DrainRequest {
        address: backend.address,
        port: backend.port,
        timeout_s: args.timeout.as_secs().max(1),
        cancel: args.cancel,
        force: args.force,
    };
    let mine = |view: &DrainView| {
        view.backend.address == backend.address
            && backend.port.is_none_or(|port| port == view.backend.port)
    };
    let mut drains = args.place.tell(async |agent| agent.drain(&request).await)?;
    if args.cancel {
        print::note("new connections go there again");
        return Ok(Exit::Fine);
    }
    drains.retain(mine);
    if args.wait {
        drains = args.place.tell(async |agent| wait(agent, mine, drains, args.timeout).await)?;
        drains.retain(mine);
    }
    show(args, &drains)?;
    let left = open(&drains);
    if args.wait && left > 0 {
        let why = anyhow!(
            "{left} connections are still open: they are busy, or can't be ended gently; \
             `balancer-agent connections --backend {}` shows them, and the annotation \
             balancer-agent/reset-after of their Service has them reset",
            backend.address
        );
        return Err(Failure::new(Exit::Failed, why));
    }
    Ok(Exit::Fine)
}

fn show(args: &Args, drains: &[DrainView]) -> Result<Exit, Failure> {
    print::result(&render::text(args.place.output, drains, render::drains)?)?;
    Ok(Exit::Fine)
}

/// Looks until nothing is open, or for some time beyond the timeout.
async fn wait(
    agent: &Client,
    mine: impl Fn(&DrainView) -> bool,
    mut drains: Vec<DrainView>,
    timeout: Duration,
) -> Result<Vec<DrainView>, ClientError> {
    let bar = bar(open(&drains));
    let deadline = tokio::time::Instant::now() + timeout + MORE;
    while open(&drains) > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        drains = agent.drains().await?;
        drains.retain(&mine);
        let total = bar.length().unwrap_or(0);
        bar.set_position(total.saturating_sub(open(&drains)));
    }
    bar.finish_and_clear();
    Ok(drains)
}

fn open(drains: &[DrainView]) -> u64 {
    drains.iter().map(|drain| u64::from(drain.connections)).sum()
}

/// Drawn on a terminal only.
fn bar(total: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    if let Ok(style) =
        ProgressStyle::with_template("draining {bar:30} {pos} of {len} ended, {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}
