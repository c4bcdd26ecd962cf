//! The `balancer-lab` binary: backends, clients and the demo.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("balancer-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
