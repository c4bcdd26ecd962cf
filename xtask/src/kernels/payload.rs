//! What goes into every machine: the programs under test, the tests, the tools that these call, and
//! the libraries of all of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::guest::Job;
use crate::{
    process, test,
    workspace::{Workspace, find_command},
};

/// The name of the job on kernels that are refused.
pub const REFUSAL: &str = "refusal";
const AGENT: &str = "balancer-agent";
const LAB: &str = "balancer-lab";
/// What the lab and its tests call.
const TOOLS: [&str; 4] = ["ip", "sh", "sleep", "cat"];
/// The tests whose subject is the kernel. The others try what is the same on each: the lab's own
/// parts, the sources, kube-proxy's rules, the demo.
const TESTS: [&str; 12] = [
    "verifier",
    "balancing",
    "counting",
    "verdicts",
    "families",
    "frontends",
    "datagrams",
    "policies",
    "affinity",
    "external",
    "changes",
    "pods",
];

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
    pub fn gather(workspace: &Workspace, filter: Option<&str>) -> Result<Self> {
        let mut programs = vec![("init".to_owned(), std::env::current_exe()?)];
        for name in [AGENT, LAB] {
            programs.push((format!("usr/bin/{name}"), workspace.binary(name)));
        }
        let mut tests = vec![up("lo")];
        for (name, executable) in test_programs(workspace)? {
            let path = format!("tests/{name}");
            tests.push(test_job(&name, &path, filter));
            programs.push((path, executable));
        }
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

fn test_job(name: &str, path: &str, filter: Option<&str>) -> Job {
    let mut arguments: Vec<_> = filter.map(str::to_owned).into_iter().collect();
    // One after the other: there is one processor. What tests print has the verifier's figures.
    arguments.extend(["--test-threads=1".to_owned(), "--show-output".to_owned()]);
    let binary = |variable: &str, name: &str| (variable.to_owned(), format!("/usr/bin/{name}"));
    Job {
        name: name.to_owned(),
        program: format!("/{path}"),
        arguments,
        environment: vec![
            binary("BALANCER_AGENT_BIN", AGENT),
            binary("BALANCER_LAB_BIN", LAB),
            ("RUST_BACKTRACE".to_owned(), "0".to_owned()),
        ],
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

/// The executables of the tests, in the order they are listed in.
fn test_programs(workspace: &Workspace) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = workspace.cargo("test");
    cargo.args(test::HOST).args(["--no-run", "--message-format", "json-render-diagnostics"]);
    for name in TESTS {
        cargo.args(["--test", name]);
    }
    let mut built = BTreeMap::new();
    let status = process::read_lines(&mut cargo, |line| {
        if let Some((name, executable)) = executable(line) {
            built.insert(name, executable);
        }
    })?;
    ensure!(status.success(), "the tests can't be built: cargo ended with {status}");
    TESTS
        .into_iter()
        .map(|name| {
            let executable = built.remove(name);
            Ok((
                name.to_owned(),
                executable.with_context(|| format!("cargo built no test {name}"))?,
            ))
        })
        .collect()
}

/// Name and path of the test program that a message of cargo tells.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["target"]["kind"][0] == "test";
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let path = text(&message["executable"]).filter(|_| is_test)?;
    Some((text(&message["target"]["name"])?, path.into()))
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

    #[test]
    fn test_programs_are_told_by_cargo() {
        let line = r#"{"target":{"kind":["test"],"name":"counting"},"executable":"/t/counting-1"}"#;
        assert_eq!(executable(line), Some(("counting".to_owned(), "/t/counting-1".into())));
        assert_eq!(executable(&line.replace("test\"]", "bin\"]")), None);
        assert_eq!(executable("Compiling"), None);
    }
}
