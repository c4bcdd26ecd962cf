//! The command line. Arguments are parsed raw, then validated into what the rest trusts; one verb
//! a file, rendering apart.

mod backends;
mod cleanup;
mod clients;
mod complete;
mod completions;
mod connections;
mod doctor;
mod drain;
mod events;
mod exit;
mod explain;
mod heap;
mod inspect;
mod list;
mod log;
mod manual;
mod peers;
mod print;
mod rebalance;
mod run;
mod service;
mod services;
mod status;
mod sysdump;
mod top;
mod trace;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::{Exit, Failure};
use crate::{
    moves::helper::{process::VERB, serve::serve},
    top::guard,
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent doctor                             what this node can and can't do
  balancer-agent run --manifests deploy/demo        balance what a folder of YAML describes
  balancer-agent services                           what is balanced
  balancer-agent backends shop/cart                 connections per backend of one Service
  balancer-agent connections --service shop/cart    each connection, its age and what it does
  balancer-agent clients shop/cart                  whose connections these are
  balancer-agent top                                what happens now: rates, and whether it is even
  balancer-agent explain 10.96.0.10:80              what connect() would get, and why
  balancer-agent peers                              whose connections are counted
  balancer-agent rebalance shop/cart --dry-run      what would move, and why
  balancer-agent drain 10.244.1.7 --wait            no new connections; end those that are open
  balancer-agent events --since 5m                  what has changed on this node
  balancer-agent trace --errors                     what fails from now on, and why
  balancer-agent sysdump                            all of this in one archive, for a report
  balancer-agent cleanup                            take everything out of the kernel

Exit codes: 0 fine, 1 failed, 2 usage, 3 agent not reachable, 4 the node lacks something";

/// Least-connections balancing of Kubernetes Services, inside connect()
#[derive(Debug, Parser)]
#[command(name = "balancer-agent", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Status(status::Args),
    Services(services::Args),
    Backends(backends::Args),
    Connections(connections::Args),
    Clients(clients::Args),
    Top(top::Args),
    Explain(explain::Args),
    Peers(peers::Args),
    Rebalance(rebalance::Args),
    Drain(drain::Args),
    Events(events::Args),
    Trace(trace::Args),
    Doctor(doctor::Args),
    Sysdump(sysdump::Args),
    Cleanup(cleanup::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Manual(manual::Args),
    /// Touch sockets for an agent, which is at standard input
    #[command(hide = true, name = VERB)]
    TouchSockets,
    /// Give the terminal at standard error back when standard input ends
    #[command(hide = true, name = guard::VERB)]
    GuardTerminal,
}

/// Does what the arguments of this process say.
pub fn main() -> ExitCode {
    complete::answer();
    // Ends the process on a usage error (2), and after --help and --version (0).
    let done = match Cli::parse().verb {
        Verb::Run(args) => run::run(args),
        Verb::Status(args) => status::run(&args),
        Verb::Services(args) => services::run(&args),
        Verb::Backends(args) => backends::run(&args),
        Verb::Connections(args) => connections::run(&args),
        Verb::Clients(args) => clients::run(&args),
        Verb::Top(args) => top::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Peers(args) => peers::run(&args),
        Verb::Rebalance(args) => rebalance::run(&args),
        Verb::Drain(args) => drain::run(&args),
        Verb::Events(args) => events::run(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Sysdump(args) => sysdump::run(&args),
        Verb::Cleanup(args) => cleanup::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Manual(args) => manual::run(&args),
        Verb::TouchSockets => serve().map(|()| Exit::Fine).map_err(Failure::from),
        Verb::GuardTerminal => guard::guard().map(|()| Exit::Fine).map_err(Failure::from),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            print::error(&failure);
            failure.exit.into()
        }
    }
}
