//! The program of this crate, in a place of a lab.

use std::process::Command;

use balancer_lab::{Place, error::Result, host};

/// A command that runs the `balancer-bench` binary in a place.
pub(crate) fn command(place: &Place) -> Result<Command> {
    Ok(place.command(host::binary("balancer-bench", "BALANCER_BENCH_BIN")?))
}
