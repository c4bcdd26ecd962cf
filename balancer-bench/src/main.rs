//! The `balancer-bench` binary: measurements, the model test of counting, and the processes of both.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("balancer-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
