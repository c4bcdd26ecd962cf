//! Finds the Rust compilers on this machine that can make `core` for BPF.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use super::choice::{Compiler, Release};
use crate::{process, workspace::Workspace};

/// Looks at rustup's toolchains, at `PATH`, and beside the running cargo.
///
/// The toolchains are read from rustup's directory: asking its proxies for one that is absent
/// could start a download.
pub fn find(workspace: &Workspace) -> Vec<Compiler> {
    let beside_cargo = workspace.cargo.parent().map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let programs: BTreeSet<PathBuf> = rustup_toolchains()
        .into_iter()
        .chain(beside_cargo)
        .chain(env::split_paths(&path))
        .filter_map(|directory| fs::canonicalize(directory.join("rustc")).ok())
        .filter(|program| program.file_name().is_some_and(|name| name != "rustup"))
        .collect();
    thread::scope(|scope| {
        let asked: Vec<_> =
            programs.iter().map(|program| scope.spawn(|| inspect(program))).collect();
        asked.into_iter().filter_map(|answer| answer.join().ok().flatten()).collect()
    })
}

/// Whether rustup has a toolchain for this channel.
pub fn rustup_has(channel: &str) -> bool {
    rustup_toolchains().iter().any(|bin| {
        let name = bin.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        // `nightly-x86_64-...`, not the `nightly-2026-05-20-x86_64-...` of a certain day.
        name.strip_prefix(channel)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|host| !host.starts_with(|first: char| first.is_ascii_digit()))
    })
}

fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else {
        return Vec::new();
    };
    entries.filter_map(Result::ok).map(|entry| entry.path().join("bin")).collect()
}

/// The facts about one compiler, or nothing when it has no way to a `core` for BPF.
fn inspect(rustc: &Path) -> Option<Compiler> {
    let sysroot = rustc.parent()?.parent()?;
    let rustlib = sysroot.join("lib/rustlib");
    let compiled_core = has_library(&rustlib.join("bpfel-unknown-none/lib"), "libcore-");
    let rust_src = rustlib.join("src/rust/library/Cargo.lock").is_file();
    if !compiled_core && !rust_src {
        return None;
    }
    let cargo = rustc.with_file_name("cargo");
    if !cargo.is_file() {
        return None;
    }
    let about = About::parse(&process::probe(Command::new(rustc).arg("-vV"))?)?;
    Some(Compiler {
        rustc: rustc.to_owned(),
        cargo,
        release: about.release,
        nightly: about.nightly,
        llvm: about.llvm,
        compiled_core,
        rust_src,
    })
}

/// Whether a folder has a compiled crate whose file begins with `name`.
pub fn has_library(directory: &Path, name: &str) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| {
                let file = entry.file_name();
                let file = file.to_string_lossy();
                file.starts_with(name) && file.ends_with(".rlib")
            })
        })
    })
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
struct About {
    release: Release,
    nightly: bool,
    llvm: u32,
}

impl About {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let release = field("release: ")?;
        let mut numbers = release.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let nightly = release.ends_with("-nightly") || release.ends_with("-dev");
        let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        Some(Self { release: Release { major, minor }, nightly, llvm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_compiler_are_read() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let release = Release { major: 1, minor: 97 };
        assert_eq!(About::parse(text), Some(About { release, nightly: true, llvm: 22 }));
        let stable = text.replace("-nightly", "");
        assert_eq!(About::parse(&stable), Some(About { release, nightly: false, llvm: 22 }));
        assert_eq!(About::parse("cranelift has no such line"), None);
    }

    #[test]
    fn only_a_compiled_core_counts() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!has_library(&directory.path().join("absent"), "libcore-"));
        fs::write(directory.path().join("libcompiler_builtins-1.rlib"), "").unwrap();
        fs::write(directory.path().join("libcore-1.rmeta"), "").unwrap();
        assert!(!has_library(directory.path(), "libcore-"));
        fs::write(directory.path().join("libcore-1.rlib"), "").unwrap();
        assert!(has_library(directory.path(), "libcore-"));
    }
}
