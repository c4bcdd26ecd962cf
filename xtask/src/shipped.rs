//! The agent as it is shipped: one static binary.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{process, workspace::Workspace};

/// The name of the crate, and of its binary.
pub const AGENT: &str = "balancer-agent";

/// A binary that was built.
#[derive(Debug)]
pub struct Shipped {
    /// The target it was built for.
    pub target: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Builds it. The eBPF object must be there.
pub fn agent(workspace: &Workspace) -> Result<Shipped> {
    let target = host(workspace)?;
    require_static_libc(&target)?;
    let mut cargo = workspace.cargo("build");
    // With a target of its own, flags are for the binary alone and not for build scripts, and the
    // other builds of this folder stay as they are.
    cargo.args(["--release", "--locked", "--package", AGENT, "--target", &target]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace).join("\x1f"));
    process::shown(&mut cargo)?;
    let path = workspace.target.join(&target).join("release").join(AGENT);
    Ok(Shipped { target, path })
}

fn flags(workspace: &Workspace) -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(workspace.remapped());
    flags
}

/// The target that the compiler builds for unless told otherwise.
fn host(workspace: &Workspace) -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = process::probe(Command::new(rustc).arg("-vV").current_dir(&workspace.root))
        .context("rustc -vV does not run")?;
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
