//! Finds bpf-linker, or builds it against the very LLVM that the compiler uses.
//!
//! bpf-linker reads the compiler's bitcode, so its LLVM must not be older. Linking it to the
//! compiler's own LLVM library settles that, and spares the download of another LLVM.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::choice::{Compiler, Linker};
use crate::{process, workspace::Workspace};

const NAME: &str = "bpf-linker";
const VERSION: &str = "0.13.0";
const LIMIT: Duration = Duration::from_secs(1_800);

/// Looks in `PATH`, where cargo installs, and where [`build`] puts its own.
pub fn find(workspace: &Workspace) -> Vec<Linker> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let own = fs::read_dir(workspace.tools()).into_iter().flatten().filter_map(Result::ok);
    let programs: BTreeSet<PathBuf> = env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .chain(own.map(|entry| entry.path().join("bin")))
        .filter_map(|directory| fs::canonicalize(directory.join(NAME)).ok())
        .collect();
    thread::scope(|scope| {
        let asked: Vec<_> =
            programs.iter().map(|program| scope.spawn(|| inspect(program))).collect();
        asked.into_iter().filter_map(|answer| answer.join().ok().flatten()).collect()
    })
}

/// Asks a linker for its LLVM. One whose LLVM library is gone does not run and is not there.
fn inspect(program: &Path) -> Option<Linker> {
    let mut command = Command::new(program);
    command.args(["--llvm-args=--version", "--output", "/dev/null", "/dev/null"]);
    let llvm = llvm_version(&process::probe(&mut command)?)?;
    Some(Linker { path: program.to_owned(), llvm })
}

fn llvm_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("LLVM version ")?;
    version.split('.').next()?.parse().ok()
}

/// Builds bpf-linker with the LLVM library of `compiler`, inside the target directory.
pub fn build(workspace: &Workspace, compiler: &Compiler) -> Result<PathBuf> {
    let llvm = compiler.llvm;
    let library = llvm_library(compiler).with_context(|| {
        format!(
            "no libLLVM.so.{llvm} was found for {}, which bpf-linker needs: on Debian, \
             `apt-get install llvm-{llvm}-dev`",
            compiler.rustc.display()
        )
    })?;
    let prefix = workspace.tools().join(format!("llvm-{llvm}"));
    link_library(&library, &prefix.join("lib"))?;
    let mut cargo = Command::new(&workspace.cargo);
    cargo
        .args(["install", NAME, "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
        .arg(&prefix)
        .env("LLVM_PREFIX", &prefix)
        // The linker's own code is a thin layer over LLVM: what counts is how soon it is built.
        .envs([("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"), ("CARGO_PROFILE_RELEASE_DEBUG", "0")])
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(&workspace.root);
    let label =
        format!("building {NAME} {VERSION} with LLVM {llvm} of {}", compiler.rustc.display());
    process::watched(&label, &mut cargo, LIMIT)?;
    let program = prefix.join("bin").join(NAME);
    if inspect(&program).is_none_or(|linker| linker.llvm < llvm) {
        bail!("{} was built, and does not run with LLVM {llvm}", program.display());
    }
    Ok(program)
}

/// The LLVM library that a compiler loads: rustup ships it in the toolchain, distributions put it
/// among the system's libraries.
fn llvm_library(compiler: &Compiler) -> Option<PathBuf> {
    let llvm = compiler.llvm;
    let sysroot = compiler.rustc.parent()?.parent()?;
    let triplets = fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok);
    [sysroot.join("lib"), format!("/usr/lib/llvm-{llvm}/lib").into(), "/usr/lib64".into()]
        .into_iter()
        .chain(triplets.map(|entry| entry.path()).filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-linux-gnu"))
        }))
        .find_map(|directory| library_in(&directory, llvm))
}

fn library_in(directory: &Path, llvm: u32) -> Option<PathBuf> {
    let prefix = format!("libLLVM.so.{llvm}.");
    fs::read_dir(directory).ok()?.filter_map(Result::ok).find_map(|entry| {
        entry.file_name().to_string_lossy().starts_with(&prefix).then(|| entry.path())
    })
}

/// Gives the library the name the linker asks for, and keeps the one under which it is loaded.
fn link_library(library: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let loaded_as = library.file_name().context("a library without a name")?;
    for name in [loaded_as, "libLLVM.so".as_ref()] {
        let link = directory.join(name);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).with_context(|| format!("removing {}", link.display()))?;
        }
        symlink(library, &link).with_context(|| format!("creating {}", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_of_a_linker_is_read() {
        assert_eq!(llvm_version("Debian LLVM version 22.1.8\n  Optimized build.\n"), Some(22));
        let rustup = "LLVM (http://llvm.org/):\n  LLVM version 23.1.4-rust-1.101.0-nightly\n";
        assert_eq!(llvm_version(rustup), Some(23));
        assert_eq!(llvm_version("bpf-linker 0.9.0"), None);
    }

    #[test]
    fn the_library_is_found_by_its_major_version() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("libLLVM.so.22.1-rust-1.96.0-stable");
        fs::write(&library, "").unwrap();
        fs::write(directory.path().join("libLLVM.so.2.1"), "").unwrap();
        assert_eq!(library_in(directory.path(), 22), Some(library));
        assert_eq!(library_in(directory.path(), 23), None);
    }

    #[test]
    fn links_to_a_library_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (Path::new("/a/libLLVM.so.22.1"), Path::new("/b/libLLVM.so.22.2"));
        link_library(first, directory.path()).unwrap();
        link_library(second, directory.path()).unwrap();
        let read = |name: &str| fs::read_link(directory.path().join(name)).unwrap();
        assert_eq!(read("libLLVM.so"), second);
        assert_eq!(read("libLLVM.so.22.2"), second);
    }
}
