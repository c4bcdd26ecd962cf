//! What a build for an architecture takes: the target, and for another machine than this one the
//! compiler's library for it and a linker.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    acquire, apt,
    choice::{Toolchain, Way},
    compilers::has_library,
    foreign,
};
use crate::{
    architecture::Architecture,
    process, ui,
    workspace::{Workspace, find_command},
};

/// Debian's package of the compiler's library, for each architecture.
const LIBRARY: &str = "libstd-rust-web-dev";
/// Debian's package of the compiler.
const COMPILER: &str = "rustc-web";

/// For what is built, and with what.
#[derive(Debug)]
pub struct Target {
    /// The architecture.
    pub architecture: Architecture,
    /// The compiler's name of it.
    pub triple: String,
    /// The compiler, where it is not cargo's own.
    rustc: Option<PathBuf>,
    /// The folder with the compiler's library, where it is not the compiler's own.
    sysroot: Option<PathBuf>,
    /// The linker, where it is not that of this machine.
    linker: Option<String>,
}

impl Target {
    /// Has cargo build for it, statically. Flags are for what is built alone, and not for build scripts.
    pub fn tell(&self, cargo: &mut Command, workspace: &Workspace) {
        let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
        flags.extend(workspace.remapped());
        flags.extend(self.sysroot.iter().map(|folder| format!("--sysroot={}", folder.display())));
        cargo.args(["--target", &self.triple]);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
        if let Some(linker) = &self.linker {
            let triple = self.triple.to_uppercase().replace('-', "_");
            cargo.env(format!("CARGO_TARGET_{triple}_LINKER"), linker);
        }
    }
}

/// Finds or installs what it takes.
pub fn of(
    workspace: &Workspace,
    toolchain: &Toolchain,
    architecture: Architecture,
) -> Result<Target> {
    let native = |triple| Target { architecture, triple, rustc: None, sysroot: None, linker: None };
    if Architecture::of_host()? == architecture {
        let target = native(host(workspace)?);
        require_static_libc(&target.triple)?;
        return Ok(target);
    }
    let name = architecture.name();
    if find_command(&architecture.gnu("gcc")).is_none() {
        apt::install(&architecture.cross_packages())
            .with_context(|| format!("building for {name} needs a C compiler and its library"))?;
    }
    let target = Target { linker: Some(architecture.gnu("gcc")), ..native(architecture.target()) };
    if has_standard_library(workspace, &target.triple) {
        return Ok(target);
    }
    let debian = match toolchain.way {
        Way::CompiledCore => library_of_debian(workspace, toolchain, architecture),
        _ => Err(anyhow!("the compiler for BPF is not Debian's")),
    };
    match debian {
        Ok(sysroot) => {
            Ok(Target { rustc: Some(toolchain.rustc.clone()), sysroot: Some(sysroot), ..target })
        }
        Err(reason) => {
            ui::note(&format!("no library of the compiler for {name} from Debian: {reason:#}"));
            let label = format!("adding {} to Rust", target.triple);
            acquire::rustup(&label, &["target", "add", &target.triple])?;
            Ok(target)
        }
    }
}

/// Whether cargo's own compiler has its library for a target.
fn has_standard_library(workspace: &Workspace, triple: &str) -> bool {
    let mut command = rustc(workspace);
    command.args(["--print", "target-libdir", "--target", triple]);
    process::probe(&mut command)
        .is_some_and(|folder| has_library(folder.trim().as_ref(), "libstd-"))
}

/// Debian's library for an architecture, of the very version of Debian's compiler here, unpacked beside
/// the linkers: installed by apt it would make this machine one of two architectures.
fn library_of_debian(
    workspace: &Workspace,
    toolchain: &Toolchain,
    architecture: Architecture,
) -> Result<PathBuf> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${Version}", COMPILER]);
    let version = process::probe(&mut command)
        .with_context(|| format!("{} is not of {COMPILER}", toolchain.rustc.display()))?;
    let folder = workspace.tools().join(format!("rust-{version}-{}", architecture.name()));
    let sysroot = folder.join("usr");
    let library = sysroot.join("lib/rustlib").join(architecture.target()).join("lib");
    if !has_library(&library, "libstd-") {
        let package = format!("{LIBRARY}={version}");
        foreign::unpack(&[&package], architecture, &folder)?;
    }
    Ok(sysroot)
}

fn rustc(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(&workspace.root);
    command
}

/// The target that the compiler builds for unless told otherwise.
fn host(workspace: &Workspace) -> Result<String> {
    let said = process::probe(rustc(workspace).arg("-vV")).context("rustc -vV does not run")?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// A missing archive would end the build minutes later with a message of the linker.
fn require_static_libc(target: &str) -> Result<()> {
    if !target.ends_with("-gnu") {
        return Ok(());
    }
    let found = process::probe(Command::new("cc").arg("-print-file-name=libc.a"));
    // Without a path where there is none.
    if !found.is_some_and(|path| path.contains('/')) {
        bail!(
            "libc.a is missing, which a static binary is linked with: install libc6-dev (Debian, \
             Ubuntu) or glibc-static (Fedora)"
        );
    }
    Ok(())
}
