//! The commands behind the stages.
//!
//! All stages but those of balancer-programs select the same packages in the same profile ([`CHECKED`]).
//! balancer-programs stands apart: its many libraries would have everything compiled again with their
//! features.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::Metadata;
use serde_json::Value;

use super::report::Outcome;
use crate::{
    compile::{CHECKED, Programs},
    process,
    workspace::{Workspace, find_command},
};

/// The crate of real programs, alone.
const REAL: [&str; 4] = ["--package", PROGRAMS, "--profile", "checks"];
/// The scenario of the demo that is tried.
const DEMO: &str = "pools-5";
/// The crates whose integration tests need root and a lab.
const IN_LABS: [&str; 2] = ["balancer-bench", "balancer-lab"];
const PROGRAMS: &str = "balancer-programs";

/// Formatting, of the eBPF programs too.
pub fn format(workspace: &Workspace) -> Command {
    let mut cargo = Command::new(&workspace.cargo);
    cargo.args(["fmt", "--all", "--check"]).current_dir(&workspace.root);
    cargo
}

/// What dependencies may be, and whether each is used; none where the program that looks is missing.
pub fn dependencies(workspace: &Workspace) -> [(&'static str, Option<Command>); 2] {
    let cargo = |name: &'static str, arguments: &[&str]| {
        let program = find_command(&format!("cargo-{name}"))?;
        let mut command = Command::new(program);
        command.arg(name).args(arguments).current_dir(&workspace.root);
        command.env("CARGO", &workspace.cargo);
        Some(command)
    };
    // Not the advisories: their database changes with no change here, and is elsewhere.
    let rules = ["--offline", "check", "bans", "licenses", "sources"];
    [
        ("cargo-deny", cargo("deny", &rules)),
        ("cargo-machete", cargo("machete", &["--skip-target-dir"])),
    ]
}

/// Lints on everything for this machine but the real programs.
pub fn clippy(workspace: &Workspace) -> Command {
    lints(workspace, &CHECKED)
}

/// Lints on the real programs.
pub fn clippy_programs(workspace: &Workspace) -> Command {
    lints(workspace, &REAL)
}

fn lints(workspace: &Workspace, packages: &[&str]) -> Command {
    let mut cargo = workspace.cargo("clippy");
    cargo.args(packages).args(["--keep-going", "--all-targets", "--", "--deny", "warnings"]);
    cargo
}

/// The documentation, in which a broken link is an error.
pub fn documentation(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo("doc");
    cargo.args(CHECKED).args(["--keep-going", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings");
    cargo
}

/// Unit tests, documentation tests, and the integration tests that need no lab.
pub fn host_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Outcome> {
    let tests = || {
        let mut cargo = workspace.cargo("test");
        cargo.args(CHECKED);
        cargo
    };
    let mut outcome = Outcome::default();
    let mut targets = vec!["--lib".to_owned(), "--bins".to_owned()];
    let is_of_host = |name: &str| !IN_LABS.contains(&name) && name != PROGRAMS;
    targets.extend(integration_tests(&crates(workspace)?, is_of_host));
    run(&mut tests(), &targets, filter, &mut outcome)?;
    run(&mut tests(), &["--doc".to_owned()], filter, &mut outcome)?;
    Ok(outcome)
}

/// The integration tests of lab and benches, on the kernel that runs here.
pub fn lab_tests(
    workspace: &Workspace,
    programs: &Programs,
    filter: Option<&str>,
) -> Result<Outcome> {
    let targets = integration_tests(&crates(workspace)?, |name| IN_LABS.contains(&name));
    ensure!(!targets.is_empty(), "{IN_LABS:?} have no tests");
    let mut cargo = workspace.cargo("test");
    programs.tell(&mut cargo);
    let mut outcome = Outcome::default();
    run(cargo.args(CHECKED), &targets, filter, &mut outcome)?;
    Ok(outcome)
}

/// The tests with real programs, on the kernel that runs here.
pub fn program_tests(
    workspace: &Workspace,
    programs: &Programs,
    filter: Option<&str>,
) -> Result<Outcome> {
    let mut cargo = workspace.cargo("test");
    programs.tell(&mut cargo);
    let mut outcome = Outcome::default();
    run(cargo.args(REAL), &[], filter, &mut outcome)?;
    Ok(outcome)
}

/// One scenario of the demo: what it says in JSON is complete, and least connections are even.
pub fn demo(workspace: &Workspace, programs: &Programs) -> Result<Outcome> {
    let mut lab = Command::new(&programs.lab);
    programs.tell(&mut lab);
    lab.args(["demo", "--scenario", DEMO, "--output", "json"]).current_dir(&workspace.root);
    let mut text = String::new();
    let status = process::read_lines(&mut lab, |line| text.push_str(line))?;
    ensure!(status.success(), "the demo ended with {status}");
    let said: Value = serde_json::from_str(&text).context("the demo says no JSON")?;
    let outcomes = said["scenarios"].as_array().context("the demo tells no scenarios")?;
    for balancer in ["iptables", "least-connections"] {
        let of = |outcome: &&Value| outcome["name"] == DEMO && outcome["balancer"] == balancer;
        let outcome = outcomes.iter().find(of);
        let outcome = outcome.with_context(|| format!("no {balancer} in the demo: {text}"))?;
        ensure!(outcome["max_over_mean"].is_f64(), "{balancer} has no max_over_mean: {text}");
    }
    Ok(Outcome::default())
}

/// The crates of this repository, without what they depend on.
fn crates(workspace: &Workspace) -> Result<Metadata> {
    workspace.metadata().no_deps().exec().context("cargo metadata failed")
}

fn run(
    cargo: &mut Command,
    targets: &[String],
    filter: Option<&str>,
    outcome: &mut Outcome,
) -> Result<()> {
    // Go on with the other crates after a failure: one run should tell all of them.
    cargo.arg("--no-fail-fast").args(targets).args(filter);
    let before = outcome.failed.len();
    let status = process::teed(cargo, |line| outcome.read(line))?;
    if !status.success() && outcome.failed.len() == before {
        // No test failed, and cargo did: something does not compile, or a test program died.
        outcome.broken = Some(format!("cargo test ended with {status}"));
    }
    Ok(())
}

/// `--test NAME` for each integration test of the crates that are wanted, in their order.
fn integration_tests(metadata: &Metadata, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let packages = metadata.workspace_packages().into_iter();
    let targets = packages.filter(|package| is_wanted(&package.name)).flat_map(|one| &one.targets);
    let mut names: Vec<_> =
        targets.filter(|target| target.is_test()).map(|target| target.name.clone()).collect();
    names.sort();
    names.into_iter().flat_map(|name| ["--test".to_owned(), name]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn tests_are_found_by_their_crate() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let said = cargo_metadata::MetadataCommand::new().manifest_path(manifest).no_deps().exec();
        let found = integration_tests(&said.unwrap(), |name| name == "xtask");
        assert_eq!(found, ["--test", "docs", "--test", "modules"]);
    }
}
