//! `balancer-agent drain`.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    net::IpAddr,
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
    moves::looks::UNSURE,
    render,
    settings::moving,
    view::{ConnectionView, DrainRequest, DrainView, DrainsQuestion, Wanted},
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
/// How long beyond the timeout and the rest that is asked of those of which nothing tells whose
/// turn it is, connections that are busy are waited for.
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
        let drains = args.place.tell(&DrainsQuestion {})?;
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
    let left = open(&drains);
    if args.wait && left > 0 {
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

/// What is left, and why, and what can be done about it.
fn why_left(left: &[ConnectionView], address: IpAddr) -> String {
    let mut reasons = BTreeMap::<_, usize>::new();
    for view in left {
        let reason = match &view.activity {
            _ if view.ended_ms.is_some() => {
                "ended, and closed neither by the client nor by the backend"
            }
            _ if view.outside.is_some() => "from outside of the node, which are not ended",
            None => "out of reach, as no process of its pod is left or its socket is held",
            Some(activity) if activity.state != "established" => "about to close",
            Some(activity) if activity.busy => "busy",
            Some(_) => {
                "at rest, and has not been so for the quiet time (for a minute where nothing tells \
                 whose turn it is), or no process has it"
            }
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let each: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!(
        "{} still open: {}; `balancer-agent connections --backend {address}` shows them, and the \
         annotation balancer-agent/reset-after of their Service has them reset",
        left.len(),
        each.join("; "),
    )
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
    while open(&drains) > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        drains = agent.ask(&DrainsQuestion {}).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_is_left_is_told_with_its_reasons() {
        let [rests, unreachable, from_outside] = &testing::connections()[..] else {
            panic!("three connections")
        };
        let mut busy = rests.clone();
        busy.activity.as_mut().unwrap().busy = true;
        let ended = ConnectionView { ended_ms: Some(7_000), ..busy.clone() };
        let all = [rests, unreachable, &busy, &busy, &ended, from_outside].map(Clone::clone);
        let said = why_left(&all, rests.backend.address);
        for part in [
            "6 still open: ",
            "1 from outside of the node",
            "2 busy; ",
            "1 ended, and closed neither by the client nor by the backend",
            "1 at rest",
            "1 out of reach",
            "`balancer-agent connections --backend 10.0.0.1` shows them",
            "balancer-agent/reset-after",
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
}
