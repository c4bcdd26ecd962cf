//! `cargo xtask`: everything between a clone of the repository and a running balancer.
//!
//! The stages, in their order; a module imports only those before it:
//!
//! - [`ui`] shows progress,
//! - [`process`] runs programs,
//! - [`workspace`] finds the repository and what it builds,
//! - [`architecture`] names what is built for,
//! - [`pack`] makes archives that are the same each time,
//! - [`cli`] reads the command line,
//! - [`setup`] finds or installs the BPF toolchain, its linker and the tools of the lab,
//! - [`shipped`] builds the static agent that is shipped and tested,
//! - [`compile`] builds the eBPF object, then the programs that embed it,
//! - [`lab`] hands over to `balancer-lab` (demo) and `balancer-bench` (bench, soak),
//! - [`image`] packs the agent into a container image,
//! - [`dist`] makes the files of a release,
//! - [`test`](mod@test) runs every check and reports on each,
//! - [`kernels`] tries other kernels in emulated machines.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod architecture;
mod cli;
mod compile;
mod dist;
mod image;
mod kernels;
mod lab;
mod pack;
mod process;
mod setup;
mod shipped;
mod test;
mod ui;
mod workspace;

use cli::{Cli, Verb};
use lab::Delegated;
use setup::Needs;
use workspace::Workspace;

fn main() -> ExitCode {
    // In the machines of `cargo xtask kernels`.
    if kernels::is_first_process() {
        return ended(kernels::run_as_first_process());
    }
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::locate()?;
    let preference = cli.bpf_toolchain;
    match cli.verb {
        Verb::Setup => {
            let toolchain = setup::run(&workspace, preference, Needs::ALL)?;
            ui::note(&format!("ready: {toolchain}"));
        }
        Verb::Build { debug } => {
            let toolchain = setup::run(&workspace, preference, Needs::BUILD)?;
            compile::programs(&workspace, &toolchain, compile::MEASURES, debug)?;
        }
        Verb::Image(options) => {
            let toolchain = setup::run(&workspace, preference, Needs::BUILD)?;
            image::run(&workspace, &toolchain, &options)?;
        }
        Verb::Dist(options) => {
            let toolchain = setup::run(&workspace, preference, Needs::BUILD)?;
            dist::run(&workspace, &toolchain, preference, &options)?;
        }
        Verb::Demo { args } => {
            match lab::hand_over(&workspace, preference, Delegated::Demo, &args)? {}
        }
        Verb::Bench { args } => {
            match lab::hand_over(&workspace, preference, Delegated::Bench, &args)? {}
        }
        Verb::Soak { args } => {
            match lab::hand_over(&workspace, preference, Delegated::Soak, &args)? {}
        }
        Verb::Kernels(options) => return kernels::run(&workspace, preference, &options),
        Verb::Test(options) => return test::run(&workspace, preference, &options),
    }
    Ok(ExitCode::SUCCESS)
}
