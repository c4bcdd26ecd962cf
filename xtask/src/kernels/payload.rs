//! What goes into every machine: the programs under test, the tests, the tools that these call, and
//! the libraries of all of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    guest::Job,
    suite::{self, LAB},
};
use crate::{
    compile::Programs,
    process,
    shipped::AGENT,
    workspace::{Workspace, find_command},
};

/// The name of the job on kernels that are refused.
pub const REFUSAL: &str = "refusal";
/// What the lab and its tests call.
const TOOLS: [&str; 5] = ["ip", "ss", "sh", "sleep", "cat"];
/// Everything that is the same for all kernels.
pub struct Payload {
    /// Links of folders, as `usr/bin` for `bin`, without the leading slash.
    pub links: Vec<(String, String)>,
    /// Programs and libraries.
    pub files: Vec<Packed>,
    /// The jobs where balancer works.
    pub tests: Vec<Job>,
    /// The job where it refuses.
    pub refusal: Vec<Job>,
}

/// A file in the machine.
pub struct Packed {
    /// Its path, without the leading slash.
    pub path: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// Builds the tests and gathers everything; `filter` runs only the tests whose name has it.
    pub fn gather(workspace: &Workspace, built: &Programs, filter: Option<&str>) -> Result<Self> {
        let mut programs = vec![
            ("init".to_owned(), std::env::current_exe()?),
            (format!("usr/bin/{AGENT}"), built.agent.clone()),
            (format!("usr/bin/{LAB}"), built.lab.clone()),
        ];
        let mut tests = vec![up("lo")];
        let path = format!("tests/{}", suite::PROGRAM);
        programs.push((path.clone(), suite::executable(workspace)?));
        for (module, all) in suite::TESTS {
            let chosen = all.iter().filter(|test| filter.is_none_or(|part| test.contains(part)));
            let chosen: Vec<_> = chosen.copied().collect();
            if !chosen.is_empty() {
                tests.push(suite::job(module, &path, &chosen));
            }
        }
        ensure!(tests.len() > 1, "no test of those for kernels has {filter:?} in its name");
        let mut files = BTreeMap::new();
        for tool in TOOLS {
            let path = find_command(tool).with_context(|| format!("{tool} is missing"))?;
            libraries(&path, &mut files)?;
            files.insert(real(&path)?, path);
        }
        let mut packed = Vec::new();
        for (path, executable) in programs {
            libraries(&executable, &mut files)?;
            packed.push(Packed { path, bytes: stripped(&executable)? });
        }
        for (path, file) in files {
            let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            packed.push(Packed { path, bytes });
        }
        Ok(Self { links: folder_links(), files: packed, tests, refusal: vec![refusal()] })
    }
}

fn up(link: &str) -> Job {
    let arguments = ["link", "set", link, "up"].map(str::to_owned).into();
    Job { name: format!("{link} up"), program: "ip".into(), arguments, environment: Vec::new() }
}

fn refusal() -> Job {
    let arguments = ["run", "--manifests", "/empty"].map(str::to_owned).into();
    let program = format!("/usr/bin/{AGENT}");
    Job { name: REFUSAL.to_owned(), program, arguments, environment: Vec::new() }
}

/// Without symbols and debug information, which would only fill the machine's memory.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let copy = tempfile::NamedTempFile::new().context("making a temporary file")?;
    let mut command = Command::new("strip");
    command.arg("-o").arg(copy.path()).arg(program);
    process::shown(&mut command).with_context(|| format!("stripping {}", program.display()))?;
    fs::read(copy.path()).with_context(|| format!("reading {}", copy.path().display()))
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

/// `/bin`, `/lib` and such, where they are links; iproute2 looks for namespaces below `/var/run`.
fn folder_links() -> Vec<(String, String)> {
    ["bin", "sbin", "lib", "lib64"]
        .into_iter()
        .filter_map(|name| {
            let to = fs::read_link(Path::new("/").join(name)).ok()?;
            Some((name.to_owned(), to.to_string_lossy().into_owned()))
        })
        .chain([("var/run".to_owned(), "/run".to_owned())])
        .collect()
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
