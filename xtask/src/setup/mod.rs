//! Finds what building and testing need, and installs what is missing.
//!
//! In order: the tools of the lab, the servers that tests run, a compiler for BPF, a linker that can
//! read that compiler's bitcode, formatter and lints. When all is there this costs a few calls of `rustc -vV`.

use std::fmt;

use anyhow::{Context, Result, bail};

mod acquire;
mod apt;
mod choice;
mod compilers;
mod foreign;
mod linker;
mod servers;
mod target;
mod tools;

use choice::{Compiler, Linker};
pub use choice::{Toolchain, Way};
pub use foreign::unpack as unpack_foreign;
pub use target::{Target, of as target};
pub use tools::{for_images, for_machines};

use crate::{architecture::Architecture, cli::Preference, ui, workspace::Workspace};

const NO_COMPILER: &str = "no Rust compiler here can build eBPF programs: it takes a nightly with \
                           rust-src (`rustup toolchain install nightly --component rust-src`), or \
                           Debian 12's rustc-web, cargo-web and libstd-rust-web-dev-bpf";

/// Which parts of the setup a verb needs.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// The tools with which the lab builds its networks.
    lab: bool,
    /// The servers that tests run.
    servers: bool,
    /// rustfmt and clippy.
    lints: bool,
    /// The emulator of other machines.
    machines: bool,
}

impl Needs {
    /// Only what compiling takes.
    pub const BUILD: Self = Self { lab: false, servers: false, lints: false, machines: false };
    /// Compiling and the lab.
    pub const LAB: Self = Self { lab: true, ..Self::BUILD };
    /// Compiling and the checks that stay away from the kernel.
    pub const LINTS: Self = Self { lints: true, ..Self::BUILD };
    /// What tests take, on this kernel.
    pub const TESTS: Self = Self { lab: true, servers: true, lints: true, ..Self::BUILD };
    /// Everything.
    pub const ALL: Self = Self { machines: true, ..Self::TESTS };
}

/// Makes sure that all a verb needs is there, and says with what the eBPF programs are compiled.
pub fn run(workspace: &Workspace, preference: Preference, needs: Needs) -> Result<Toolchain> {
    if needs.lab {
        tools::for_lab()?;
    }
    if needs.servers
        && let Err(error) = servers::for_tests()
    {
        // The other checks can do without; the tests that need a server fail and name it.
        ui::note(&format!("some tests will fail: {error:#}"));
    }
    if needs.machines
        && let Err(error) = Architecture::of_host().and_then(for_machines)
    {
        ui::note(&format!("other kernels can't be tried: {error:#}"));
    }
    let toolchain = toolchain(workspace, preference)?;
    if needs.lints {
        tools::for_lints(workspace, &toolchain)?;
    }
    Ok(toolchain)
}

fn toolchain(workspace: &Workspace, preference: Preference) -> Result<Toolchain> {
    let mut found = compilers::find(workspace);
    let linkers = linker::find(workspace);
    if choice::choose(preference, &found, &linkers).is_none() {
        found = acquire(workspace, preference, &linkers)?;
    }
    let chosen = choice::choose(preference, &found, &linkers).context(NO_COMPILER)?;
    let linker = match chosen.linker {
        Some(linker) => linker.path.clone(),
        None => linker::build(workspace, chosen.compiler)?,
    };
    Ok(chosen.toolchain(linker))
}

/// Tries the sources of compilers until one of them gives a compiler that suits.
fn acquire(
    workspace: &Workspace,
    preference: Preference,
    linkers: &[Linker],
) -> Result<Vec<Compiler>> {
    let mut reasons = String::from(NO_COMPILER);
    for source in acquire::sources(preference, acquire::has_rustup(), apt::is_there()) {
        let reason = match source.install() {
            Ok(()) => {
                let found = compilers::find(workspace);
                if choice::choose(preference, &found, linkers).is_some() {
                    return Ok(found);
                }
                format!("what came is too old, or no bpf-linker exists for its LLVM ({found:?})")
            }
            Err(error) => format!("{error:#}"),
        };
        ui::note(&format!("no compiler for BPF from {source}"));
        reasons.push_str(&format!("\n- {source}: {reason}"));
    }
    bail!(reasons)
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::NightlyBuildStd => "nightly, core built from rust-src",
            Way::CompiledCore => "core already compiled for BPF",
            Way::StableBuildStd => "stable, core built from rust-src",
        };
        write!(
            formatter,
            "rustc {} ({way}; {}) and bpf-linker with LLVM {} ({})",
            self.release,
            self.rustc.display(),
            self.llvm,
            self.linker.display()
        )
    }
}
