//! Building: the eBPF object first, then the programs that embed it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    architecture::Architecture,
    process,
    setup::{self, Toolchain, Way},
    shipped,
    workspace::Workspace,
};

const TARGET: &str = "bpfel-unknown-none";
const CRATE: &str = "balancer-ebpf";

/// The crates for this machine, as all that checks them selects them: cargo unifies their features in
/// one way and compiles each dependency once.
pub const CHECKED: [&str; 7] = [
    "--workspace",
    "--exclude",
    "balancer-ebpf",
    "--exclude",
    "balancer-programs",
    "--profile",
    "checks",
];

/// The programs that the lab works with.
#[derive(Debug)]
pub struct Programs {
    /// `balancer-agent`.
    pub agent: PathBuf,
    /// `balancer-lab`.
    pub lab: PathBuf,
    /// `balancer-bench`.
    pub bench: PathBuf,
}

impl Programs {
    /// Tells the lab and its tests where they are.
    pub fn tell(&self, command: &mut Command) {
        command
            .env("BALANCER_AGENT_BIN", &self.agent)
            .env("BALANCER_LAB_BIN", &self.lab)
            .env("BALANCER_BENCH_BIN", &self.bench);
    }

    /// The agent, beside the programs of a folder.
    fn of(agent: PathBuf, folder: &Path) -> Self {
        Self { agent, lab: folder.join("balancer-lab"), bench: folder.join("balancer-bench") }
    }
}

/// What shows: the agent, and the lab around it.
pub const SHOWS: &[&str] = &["balancer-agent", "balancer-lab"];
/// What measures, too.
pub const MEASURES: &[&str] = &["balancer-agent", "balancer-lab", "balancer-bench"];

/// Builds these packages; `debug` leaves them without optimisation. Programs of others are not there.
pub fn programs(
    workspace: &Workspace,
    toolchain: &Toolchain,
    packages: &[&str],
    debug: bool,
) -> Result<Programs> {
    object(workspace, toolchain)?;
    let mut cargo = workspace.cargo("build");
    for package in packages {
        cargo.args(["--package", package]);
    }
    if !debug {
        cargo.arg("--release");
    }
    process::shown(&mut cargo)?;
    let folder = workspace.target.join(if debug { "debug" } else { "release" });
    Ok(Programs::of(folder.join("balancer-agent"), &folder))
}

/// Builds the agent as it is shipped, which is the one that is tested, the lab and the benches for it, and all tests.
pub fn tested(workspace: &Workspace, toolchain: &Toolchain) -> Result<Programs> {
    object(workspace, toolchain)?;
    let host = setup::target(workspace, toolchain, Architecture::of_host()?)?;
    let agent = shipped::agent(workspace, &host)?;
    // With the tests, whose own dependencies want features of some that all others are built with: built
    // without them first, most of it would be compiled twice.
    process::shown(workspace.cargo("test").args(CHECKED).arg("--no-run"))?;
    Ok(Programs::of(agent, &workspace.target.join("checks")))
}

/// Compiles the eBPF programs into the object that the agent embeds.
pub fn object(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    process::shown(&mut bpf_cargo(workspace, toolchain, &toolchain.cargo, "build"))?;
    let built = target_directory(workspace).join(TARGET).join("bpf").join(CRATE);
    copy_if_changed(&built, &workspace.object())
}

/// The lints on the eBPF programs, where the BPF toolchain has clippy.
pub fn clippy(workspace: &Workspace, toolchain: &Toolchain) -> Option<Command> {
    let clippy = toolchain.cargo.with_file_name("cargo-clippy");
    clippy.is_file().then(|| {
        let mut command = bpf_cargo(workspace, toolchain, &clippy, "clippy");
        command.env("CARGO", &toolchain.cargo).args(["--", "--deny", "warnings"]);
        command
    })
}

fn target_directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("ebpf")
}

fn bpf_cargo(workspace: &Workspace, toolchain: &Toolchain, program: &Path, verb: &str) -> Command {
    // v3: v4 writes constants straight to a program's context, which kernels before 6.4 refuse;
    // generic has no atomics that return the old value.
    let mut flags = vec![format!("-Clinker={}", toolchain.linker.display())];
    flags.extend(["-Clink-arg=--btf", "-Cdebuginfo=2", "-Ctarget-cpu=v3"].map(str::to_owned));
    flags.extend(workspace.remapped());
    let mut cargo = Command::new(program);
    cargo
        .arg(verb)
        .args(["--package", CRATE, "--profile", "bpf", "--target", TARGET, "--target-dir"])
        .arg(target_directory(workspace))
        .current_dir(&workspace.root)
        .env("RUSTC", &toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // A wrapper meant for this machine's own crates has no place around this compiler.
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    match toolchain.way {
        Way::NightlyBuildStd => cargo.arg("-Zbuild-std=core"),
        Way::StableBuildStd => cargo.arg("-Zbuild-std=core").env("RUSTC_BOOTSTRAP", "1"),
        Way::CompiledCore => cargo.env("RUSTC_BOOTSTRAP", "1"),
    };
    cargo
}

/// An object that is the same keeps its time stamp, so that the agent is not rebuilt.
fn copy_if_changed(built: &Path, copy: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("reading {}", built.display()))?;
    if fs::read(copy).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    fs::write(copy, bytes).with_context(|| format!("writing {}", copy.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_object_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let (built, copy) = (directory.path().join("built"), directory.path().join("copy"));
        fs::write(&built, "one").unwrap();
        copy_if_changed(&built, &copy).unwrap();
        let written = fs::metadata(&copy).unwrap().modified().unwrap();
        copy_if_changed(&built, &copy).unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().modified().unwrap(), written);
        fs::write(&built, "two").unwrap();
        copy_if_changed(&built, &copy).unwrap();
        assert_eq!(fs::read_to_string(&copy).unwrap(), "two");
    }
}
