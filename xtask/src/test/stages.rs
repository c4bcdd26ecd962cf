//! The commands behind the stages.
//!
//! All stages but those of balancer-programs select the same packages in the same profile, so that
//! cargo unifies features in one way and compiles each dependency once. balancer-programs stands
//! apart: its many libraries would have everything compiled again with their features.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use super::report::Outcome;
use crate::{
    process,
    workspace::{Workspace, find_command},
};

/// The crates for this machine.
pub const HOST: [&str; 6] =
    ["--workspace", "--exclude", "balancer-ebpf", "--exclude", PROGRAMS, "--release"];
/// The crate of real programs, alone.
const REAL: [&str; 3] = ["--package", PROGRAMS, "--release"];
const LAB: &str = "balancer-lab";
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
    lints(workspace, &HOST)
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
    cargo.args(HOST).args(["--keep-going", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings");
    cargo
}

/// Unit tests, documentation tests, and the integration tests of all crates but the lab.
pub fn host_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut targets = vec!["--lib".to_owned(), "--bins".to_owned()];
    for package in
        packages(workspace)?.iter().filter(|name| ![LAB, PROGRAMS].contains(&name.as_str()))
    {
        targets.extend(integration_tests(workspace, package));
    }
    run(workspace, &HOST, &targets, filter, &mut outcome)?;
    run(workspace, &HOST, &["--doc".to_owned()], filter, &mut outcome)?;
    Ok(outcome)
}

/// The integration tests of the lab, on the kernel that runs here.
pub fn lab_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Outcome> {
    let targets = integration_tests(workspace, LAB);
    if targets.is_empty() {
        bail!("there are no tests in {LAB}/tests");
    }
    let mut outcome = Outcome::default();
    run(workspace, &HOST, &targets, filter, &mut outcome)?;
    Ok(outcome)
}

/// The tests with real programs, on the kernel that runs here.
pub fn program_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    run(workspace, &REAL, &[], filter, &mut outcome)?;
    Ok(outcome)
}

fn run(
    workspace: &Workspace,
    packages: &[&str],
    targets: &[String],
    filter: Option<&str>,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut cargo = workspace.cargo("test");
    workspace.tell_binaries(&mut cargo);
    // Go on with the other crates after a failure: one run should tell all of them.
    cargo.args(packages).arg("--no-fail-fast").args(targets).args(filter);
    let before = outcome.failed.len();
    let status = process::teed(&mut cargo, |line| outcome.read(line))?;
    if !status.success() && outcome.failed.len() == before {
        // No test failed, and cargo did: something does not compile, or a test program died.
        outcome.broken = Some(format!("cargo test ended with {status}"));
    }
    Ok(())
}

/// The directories at the root that are crates.
fn packages(workspace: &Workspace) -> Result<Vec<String>> {
    let root = &workspace.root;
    let entries = fs::read_dir(root).with_context(|| format!("reading {}", root.display()))?;
    let mut names: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// `--test NAME` for each integration test of a package, in their order.
fn integration_tests(workspace: &Workspace, package: &str) -> Vec<String> {
    let directory = workspace.root.join(package).join("tests");
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let is_test =
                path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").is_file();
            is_test.then(|| path.file_stem().map(|name| name.to_string_lossy().into_owned()))?
        })
        .collect();
    names.sort();
    names.into_iter().flat_map(|name| ["--test".to_owned(), name]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_and_their_tests_are_found() {
        let root = tempfile::tempdir().unwrap();
        for file in ["a/Cargo.toml", "a/tests/two.rs", "a/tests/one.rs", "a/tests/three/main.rs"] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir_all(root.path().join("a/tests/data")).unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        let workspace = Workspace {
            root: root.path().to_owned(),
            target: root.path().join("target"),
            cargo: "cargo".into(),
        };
        assert_eq!(packages(&workspace).unwrap(), ["a"]);
        assert_eq!(
            integration_tests(&workspace, "a"),
            ["--test", "one", "--test", "three", "--test", "two"]
        );
        assert_eq!(integration_tests(&workspace, "docs"), [""; 0]);
    }
}
