//! Every check, each as a stage with its time, and a table at the end.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

mod report;
mod stages;

pub use report::Outcome;
use report::Report;

use crate::{
    cli::{ImageOptions, Preference, TestOptions},
    compile::{self, Programs},
    image, process,
    setup::{self, Needs, Toolchain},
    workspace::{Workspace, is_root},
};

/// Runs the checks; the exit code tells whether all went well.
pub fn run(
    workspace: &Workspace,
    preference: Preference,
    options: &TestOptions,
) -> Result<ExitCode> {
    if !options.quick && !is_root() {
        bail!(
            "the tests on the real kernel need root: run `cargo xtask test` as root, for example \
             in `sudo -s`, or leave them out with `cargo xtask test --quick`"
        );
    }
    let needs = if options.quick { Needs::LINTS } else { Needs::TESTS };
    let toolchain = setup::run(workspace, preference, needs)?;
    let checks = options.filter.is_none();
    let mut report = Report::default();

    if checks {
        report.stage("format", || check(&mut stages::format(workspace)));
        for (name, command) in stages::dependencies(workspace) {
            match command {
                Some(mut command) => {
                    report.stage(name, || check(&mut command));
                }
                None => report.left_out(name, "it is not installed here"),
            }
        }
    }
    let mut programs = None;
    let built = report.stage("build", || {
        // The host tests build what they need themselves, save the object.
        if options.quick {
            compile::object(workspace, &toolchain)?;
        } else {
            programs = Some(compile::tested(workspace, &toolchain)?);
        }
        Ok(Outcome::default())
    });
    // Nothing compiles without the object.
    if built {
        if checks {
            report.stage("clippy", || check(&mut stages::clippy(workspace)));
            match compile::clippy(workspace, &toolchain) {
                Some(mut clippy) => {
                    report.stage("clippy, eBPF", || check(&mut clippy));
                }
                None => report.left_out("clippy, eBPF", "the BPF toolchain has no clippy"),
            }
        }
        report.stage("host tests", || stages::host_tests(workspace, options.filter.as_deref()));
    }
    match programs {
        Some(programs) => {
            on_this_kernel(workspace, &toolchain, &programs, options, &mut report);
        }
        None if built => {
            report.left_out("lab tests", "--quick");
            report.left_out("real programs", "--quick");
        }
        None => {}
    }
    report.print();
    Ok(if report.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What needs root, and the programs.
fn on_this_kernel(
    workspace: &Workspace,
    toolchain: &Toolchain,
    programs: &Programs,
    options: &TestOptions,
    report: &mut Report,
) {
    let (filter, checks) = (options.filter.as_deref(), options.filter.is_none());
    report.stage("lab tests", || stages::lab_tests(workspace, programs, filter));
    if checks {
        report.stage("clippy, programs", || check(&mut stages::clippy_programs(workspace)));
    }
    report.stage("real programs", || stages::program_tests(workspace, programs, filter));
    if checks {
        report.stage("demo", || stages::demo(workspace, programs));
        let options = ImageOptions { check: true, ..ImageOptions::default() };
        report.stage("image", || {
            image::run(workspace, toolchain, &options)?;
            Ok(Outcome::default())
        });
        report.stage("documentation", || check(&mut stages::documentation(workspace)));
    }
}

fn check(command: &mut Command) -> Result<Outcome> {
    process::shown(command)?;
    Ok(Outcome::default())
}
