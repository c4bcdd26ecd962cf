//! The static binary of the image.

use std::{env, fs, process::Command};

use anyhow::{Context, Result, bail};

use super::BINARY;
use crate::{process, workspace::Workspace};

/// The target it was built for, and the binary.
pub fn static_binary(workspace: &Workspace) -> Result<(String, Vec<u8>)> {
    let target = host(workspace)?;
    require_static_libc(&target)?;
    let mut cargo = workspace.cargo("build");
    // With a target of its own, flags are for the binary alone and not for build scripts, and the
    // other builds of this folder stay as they are.
    cargo.args(["--release", "--locked", "--package", BINARY, "--target", &target]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace).join("\x1f"));
    process::shown(&mut cargo)?;
    let path = workspace.target.join(&target).join("release").join(BINARY);
    let binary = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok((target, binary))
}

/// The commit that is checked out, where it is and nothing was changed since.
pub fn revision(workspace: &Workspace) -> Option<String> {
    let git = |args: &[&str]| {
        process::probe(Command::new("git").args(args).current_dir(&workspace.root))
            .map(|text| text.trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    changed.is_empty().then(|| git(&["rev-parse", "HEAD"])).flatten()
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
