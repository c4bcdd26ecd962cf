//! What runs in the machines: built for this architecture with the libraries of this machine, or for
//! another, static, with tools out of Debian's packages.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::suite;
use crate::{
    architecture::Architecture,
    compile::{self, CHECKED},
    process,
    setup::{self, Toolchain},
    shipped,
    workspace::{Workspace, find_command},
};

/// What the lab and its tests call.
const TOOLS: [&str; 5] = ["ip", "ss", "sh", "sleep", "cat"];
/// Where Debian's packages have programs.
const BINARIES: [&str; 4] = ["usr/bin", "bin", "usr/sbin", "sbin"];
/// Debian's packages of the tools and of all libraries that these need.
const PACKAGES: [&str; 27] = [
    "iproute2",
    "dash",
    "coreutils",
    "libacl1",
    "libattr1",
    "libbpf1",
    "libbsd0",
    "libc6",
    "libcap2",
    "libcom-err2",
    "libdb5.3",
    "libelf1",
    "libgmp10",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libmd0",
    "libmnl0",
    "libpcre2-8-0",
    "libselinux1",
    "libssl3",
    "libtirpc3",
    "libxtables12",
    "libzstd1",
    "zlib1g",
];

/// The files of this machine that go into those.
pub struct Programs {
    /// The first process: this program.
    pub init: PathBuf,
    /// The agent, as it is shipped.
    pub agent: PathBuf,
    /// `balancer-lab`.
    pub lab: PathBuf,
    /// The program of tests.
    pub tests: PathBuf,
    /// Tools and libraries, by their paths in the machine without the leading slash.
    pub files: BTreeMap<String, PathBuf>,
    /// What takes symbols out of a program.
    pub strip: String,
}

impl Programs {
    /// Builds them for this machine.
    pub fn of_host(workspace: &Workspace, toolchain: &Toolchain) -> Result<Self> {
        let built = compile::tested(workspace, toolchain)?;
        let (init, tests) = (std::env::current_exe()?, suite::executable(workspace, None)?);
        let mut files = BTreeMap::new();
        for tool in TOOLS {
            let path = find_command(tool).with_context(|| format!("{tool} is missing"))?;
            libraries(&path, &mut files)?;
            files.insert(real(&path)?, path);
        }
        for program in [&init, &built.agent, &built.lab, &tests] {
            libraries(program, &mut files)?;
        }
        let (agent, lab) = (built.agent, built.lab);
        Ok(Self { init, agent, lab, tests, files, strip: "strip".to_owned() })
    }

    /// Builds them for another architecture; what is downloaded for it is kept in a folder.
    pub fn cross_built(
        workspace: &Workspace,
        toolchain: &Toolchain,
        architecture: Architecture,
        folder: &Path,
    ) -> Result<Self> {
        let target = setup::target(workspace, toolchain, architecture)?;
        compile::object(workspace, toolchain)?;
        let agent = shipped::agent(workspace, &target)?;
        let tests = suite::executable(workspace, Some(&target))?;
        let mut cargo = workspace.cargo("build");
        cargo.args(CHECKED).args(["--bin", "xtask", "--bin", suite::LAB]);
        target.tell(&mut cargo, workspace);
        process::shown(&mut cargo)?;
        let built = workspace.target.join(&target.triple).join("checks");

        let root = folder.join("tools");
        if !root.join("usr").is_dir() {
            setup::unpack_foreign(&PACKAGES, architecture, &root)?;
        }
        let objdump = architecture.gnu("objdump");
        let mut files = BTreeMap::new();
        for tool in TOOLS {
            let found = BINARIES
                .iter()
                .map(|bin| root.join(bin).join(packaged(tool)))
                .find(|p| p.is_file());
            let found = found.with_context(|| format!("no {tool} in {}", root.display()))?;
            needed(&objdump, &root, &found, &mut files)?;
            files.insert(format!("usr/bin/{tool}"), found);
        }
        let (init, lab) = (built.join("xtask"), built.join(suite::LAB));
        Ok(Self { init, agent, lab, tests, files, strip: architecture.gnu("strip") })
    }
}

/// The shell gets its name when its package is installed.
fn packaged(tool: &str) -> &str {
    if tool == "sh" { "dash" } else { tool }
}

/// Adds the libraries that a program of another architecture names, those that these name, and the
/// loader, all below `usr`: `/lib` is a link.
fn needed(
    objdump: &str,
    root: &Path,
    program: &Path,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<()> {
    let told = process::probe(Command::new(objdump).arg("--private-headers").arg(program));
    let told = told.with_context(|| format!("`{objdump} {}` failed", program.display()))?;
    let names = told.lines().filter_map(|line| line.trim().strip_prefix("NEEDED"));
    for name in names.map(str::trim) {
        let multiarch = objdump.trim_end_matches("-objdump");
        // The loader is found by its path, which is that of a link.
        let folders =
            ["lib".to_owned(), format!("lib/{multiarch}"), format!("usr/lib/{multiarch}")];
        let place = folders.iter().map(|lib| (lib, root.join(lib).join(name)));
        let (lib, path) = place.into_iter().find(|(_, path)| path.exists()).with_context(|| {
            format!("{name}, which {} needs, is in no package", program.display())
        })?;
        let at = format!("usr/{}/{name}", lib.trim_start_matches("usr/"));
        if files.insert(at, path.clone()).is_none() {
            needed(objdump, root, &path, files)?;
        }
    }
    Ok(())
}

/// Adds the shared libraries of a program, and their loader.
fn libraries(program: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let told = process::probe(Command::new("ldd").arg(program));
    let Some(told) = told else { bail!("`ldd {}` failed", program.display()) };
    for path in library_paths(&told) {
        files.insert(real(&path)?, path);
    }
    Ok(())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, or the loader by its path alone.
fn library_paths(told: &str) -> Vec<PathBuf> {
    let words = told.lines().filter_map(|line| {
        line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from)
    });
    words.collect()
}

/// Where a file is in the machine: its name, in its folder without links.
fn real(path: &Path) -> Result<String> {
    let (folder, name) = (path.parent(), path.file_name());
    let (Some(folder), Some(name)) = (folder, name) else { bail!("{} is no file", path.display()) };
    let folder =
        fs::canonicalize(folder).with_context(|| format!("finding {}", folder.display()))?;
    Ok(folder.join(name).to_string_lossy().trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_their_loader_are_found() {
        let told = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = library_paths(told);
        let want = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, want.map(PathBuf::from));
        assert_eq!(library_paths("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}
