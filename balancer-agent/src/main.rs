//! `balancer-agent`: the agent and its command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    balancer_agent::cli::main()
}
