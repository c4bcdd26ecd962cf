//! `balancer-agent drain`.

mod left;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::anyhow;
use clap_complete::ArgValueCompleter;
use indicatif::{ProgressBar, ProgressStyle};

use self::left::{left_on_nodes, why_left};
use super::{
    complete,
    connections::BackendArg,
    exit::{Exit, Failure},
    inspect::Where,
    print,
};
use crate::{
    api::{Client, ClientError},
    moves::looks::UNSURE,
    render,
    settings::moving,
    view::{DrainRequest, DrainView, DrainsQuestion, Wanted},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent drain                              what is drained
  balancer-agent drain 10.244.1.7 --wait            all ports of a pod, until nothing is open
  balancer-agent drain 10.244.1.7:8080 --timeout 5m
  balancer-agent drain 10.244.1.7 --cluster --wait  on all nodes
  balancer-agent drain 10.244.1.7 --cancel          new connections go there again

Connections of this node only, unless it is for all nodes with --cluster: then every agent that hears of it drains
the backend, those that start later too, save where a Service would have no backend left. An agent that is started
anew has forgotten what was drained, and 30 s later so have the others. --cancel ends it from any node.";

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// How long beyond the timeout and the rest that is asked of those of which nothing tells whose
/// turn it is, connections that are busy are waited for.
const MORE: Duration = Duration::from_secs(30);

/// Give a backend no new connections, and end those that are open when they are quiet
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The backend, as ADDRESS or ADDRESS:PORT; without one, list those that are drained
    #[arg(value_name = "BACKEND", add = ArgValueCompleter::new(complete::backends))]
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

    /// Drain it on all nodes, by their agents
    #[arg(long, requires = "backend", conflicts_with_all = ["cancel", "force"])]
    cluster: bool,

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
        let drains = args.place.tell(&DrainsQuestion {})?;
        return show(args, &drains);
    };
    let request = DrainRequest {
        address: backend.address,
        port: backend.port,
        timeout_s: args.timeout.as_secs().max(1),
        cancel: args.cancel,
        force: args.force,
        cluster: args.cluster,
    };
    let mine = |view: &DrainView| {
        view.backend.address == backend.address
            && backend.port.is_none_or(|port| port == view.backend.port)
    };
    let mut drains = args.place.tell(&request)?;
    if args.cancel {
        print::note("new connections go there again");
        return Ok(Exit::Fine);
    }
    drains.retain(mine);
    if args.wait {
        drains = args.place.talk(async |agent| wait(agent, mine, drains, args.timeout).await)?;
        drains.retain(mine);
    }
    show(args, &drains)?;
    if args.wait && drains.is_empty() {
        let why = format!("{} is drained no more: somebody has ended it", backend.address);
        return Err(Failure::new(Exit::Failed, anyhow!(why)));
    }
    if args.wait && !is_done(&drains) {
        if drains.iter().any(|drain| !drain.nodes.is_empty()) {
            return Err(Failure::new(Exit::Failed, anyhow!(left_on_nodes(&drains))));
        }
        let wanted = Wanted {
            backend: Some(backend.address),
            backend_port: backend.port,
            ..Wanted::default()
        };
        let left = args.place.tell(&wanted)?;
        if !left.is_empty() {
            return Err(Failure::new(Exit::Failed, anyhow!(why_left(&left, backend.address))));
        }
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
    let deadline = tokio::time::Instant::now() + timeout + UNSURE + MORE;
    while !is_done(&drains) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        drains = agent.ask(&DrainsQuestion {}).await?;
        drains.retain(&mine);
        // What other nodes have is known a moment later.
        let total = bar.length().unwrap_or(0).max(open(&drains));
        bar.set_length(total);
        bar.set_position(total.saturating_sub(open(&drains)));
    }
    bar.finish_and_clear();
    Ok(drains)
}

fn open(drains: &[DrainView]) -> u64 {
    drains.iter().map(DrainView::open).sum()
}

/// True once nothing is open, as all nodes have said that drain.
fn is_done(drains: &[DrainView]) -> bool {
    open(drains) == 0 && drains.iter().all(|drain| drain.missing().next().is_none())
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
