//! The command line: one verb a file.

mod agent;
mod apiserver;
mod churn;
mod client;
mod connect;
mod crowd;
mod demo;
mod exec;
mod post;
mod serve;
mod udp;

use std::process::ExitCode;

use anyhow::Result;
use balancer_lab::lab;
use clap::{Parser, Subcommand};

/// Fake nodes and pods on one machine, and what runs in them.
///
/// Labs are made of network namespaces and cgroups of their own; the machine's network is not
/// touched. They need root.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Demo(demo::Arguments),
    Serve(serve::Arguments),
    Client(client::Arguments),
    Churn(churn::Arguments),
    Connect(connect::Arguments),
    Post(post::Arguments),
    Crowd(crowd::Arguments),
    Udp(udp::Arguments),
    Exec(exec::Arguments),
    Agent(agent::Arguments),
    Apiserver(apiserver::Arguments),
    /// Remove what killed owners left behind (every new lab does so, too)
    #[command(after_help = "Examples:\n  balancer-lab sweep\n  balancer-lab sweep --kept")]
    Sweep {
        /// Also remove the labs that `demo --keep` left up
        #[arg(long)]
        kept: bool,
    },
    /// Hold the lock given as standard input: the sign of life of a lab that was left up
    #[command(hide = true)]
    Hold,
}

pub(crate) fn run() -> Result<ExitCode> {
    match Arguments::parse().verb {
        Verb::Demo(arguments) => demo::run(&arguments)?,
        Verb::Serve(arguments) => serve::run(arguments)?,
        Verb::Client(arguments) => client::run(&arguments)?,
        Verb::Churn(arguments) => churn::run(&arguments)?,
        Verb::Connect(arguments) => connect::run(&arguments)?,
        Verb::Post(arguments) => post::run(arguments)?,
        Verb::Crowd(arguments) => crowd::run(&arguments)?,
        Verb::Udp(arguments) => udp::run(&arguments)?,
        Verb::Exec(arguments) => exec::run(&arguments)?,
        Verb::Agent(arguments) => agent::run(&arguments)?,
        Verb::Apiserver(arguments) => apiserver::run(&arguments)?,
        Verb::Sweep { kept } => {
            let gone = if kept { lab::sweep_kept()? } else { lab::sweep()? };
            match gone.as_slice() {
                [] => println!("nothing to remove"),
                ids => println!("removed {}", ids.join(", ")),
            }
        }
        Verb::Hold => loop {
            std::thread::park();
        },
    }
    Ok(ExitCode::SUCCESS)
}
