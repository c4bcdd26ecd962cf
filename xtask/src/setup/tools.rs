//! The tools beside the compiler: networking for the lab, formatter and lints for the checks.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{
    acquire, apt,
    choice::{Toolchain, Way},
};
use crate::{
    architecture::Architecture,
    workspace::{self, Workspace, find_command},
};

/// The lab's commands and Debian's packages that have them.
const LAB: [(&str, &str); 4] =
    [("ip", "iproute2"), ("iptables", "iptables"), ("nft", "nftables"), ("mount", "mount")];

/// What emulates machines, gathers what runs in them, and ends them with their owner.
const MACHINES: [(&str, &str); 4] =
    [("xz", "xz-utils"), ("strip", "binutils"), ("ldd", "libc-bin"), ("setpriv", "util-linux")];

/// Makes sure of the commands with which the lab builds its networks and its rules.
pub fn for_lab() -> Result<()> {
    install_missing(&LAB).context("the lab needs these tools")
}

/// Makes sure of what runs a binary of another architecture, out of an image.
pub fn for_images(architecture: Architecture) -> Result<PathBuf> {
    let emulator = format!("qemu-{}-static", architecture.machine());
    install_missing(&[(&emulator, "qemu-user-static")])
        .with_context(|| format!("running a binary of {} needs QEMU", architecture.name()))?;
    find_command(&emulator).with_context(|| format!("qemu-user-static has no {emulator}"))
}

/// Makes sure of the commands with which other kernels are tried.
pub fn for_machines(architecture: Architecture) -> Result<()> {
    let emulator = match architecture {
        Architecture::Amd64 => ("qemu-system-x86_64", "qemu-system-x86"),
        Architecture::Arm64 => ("qemu-system-aarch64", "qemu-system-arm"),
    };
    install_missing(&[[emulator].as_slice(), &MACHINES].concat())
        .context("trying other kernels needs these tools")
}

fn install_missing(commands: &[(&str, &'static str)]) -> Result<()> {
    let missing = missing_packages(commands, |command| find_command(command).is_some());
    if missing.is_empty() { Ok(()) } else { apt::install(&missing) }
}

fn missing_packages(
    commands: &[(&str, &'static str)],
    is_there: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    commands.iter().filter(|(command, _)| !is_there(command)).map(|&(_, package)| package).collect()
}

/// Makes sure of rustfmt and clippy for the compiler of this machine's crates, and of clippy for
/// the eBPF programs where it takes one more package.
pub fn for_lints(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let beside_cargo = |name: &str| workspace.cargo.with_file_name(name).is_file();
    let missing: Vec<_> = [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")]
        .into_iter()
        .filter(|(_, command)| !beside_cargo(command))
        .map(|(component, _)| component)
        .collect();
    if !missing.is_empty() {
        if workspace.cargo.starts_with("/usr") {
            let packages: Vec<_> = missing.iter().map(|component| debian(component)).collect();
            apt::install(&packages).context("the checks need rustfmt and clippy")?;
        } else {
            let label = format!("adding {} to Rust", missing.join(" and "));
            acquire::rustup(&label, &[&["component", "add"], &missing[..]].concat())?;
        }
    }
    let lacks_clippy = !toolchain.cargo.with_file_name("cargo-clippy").is_file();
    if toolchain.way == Way::CompiledCore && lacks_clippy && workspace::is_root() && apt::is_there()
    {
        apt::install(&[debian("clippy")]).context("the lints on the eBPF programs need clippy")?;
    }
    Ok(())
}

fn debian(component: &str) -> &'static str {
    if component == "rustfmt" { "rustfmt-web" } else { "rust-web-clippy" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(missing_packages(&LAB, |_| true), [""; 0]);
        let without_nft = missing_packages(&LAB, |command| command != "nft" && command != "ip");
        assert_eq!(without_nft, ["iproute2", "nftables"]);
    }
}
