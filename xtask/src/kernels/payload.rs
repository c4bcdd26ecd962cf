//! What goes into every machine: the programs under test, the tests, the tools that these call, the
//! libraries of all of them, and the jobs.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{
    guest::Job,
    programs::Programs,
    suite::{self, LAB},
};
use crate::{process, shipped::AGENT};

/// The name of the job on kernels that are refused.
pub const REFUSAL: &str = "refusal";
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
    /// Reads everything; `filter` runs only the tests whose name has it.
    pub fn gather(built: &Programs, filter: Option<&str>) -> Result<Self> {
        let path = format!("tests/{}", suite::PROGRAM);
        let programs = [
            ("init".to_owned(), &built.init),
            (format!("usr/bin/{AGENT}"), &built.agent),
            (format!("usr/bin/{LAB}"), &built.lab),
            (path.clone(), &built.tests),
        ];
        let mut tests = vec![up("lo")];
        for (module, all) in suite::TESTS {
            let chosen = all.iter().filter(|test| filter.is_none_or(|part| test.contains(part)));
            let chosen: Vec<_> = chosen.copied().collect();
            if !chosen.is_empty() {
                tests.push(suite::job(module, &path, &chosen));
            }
        }
        ensure!(tests.len() > 1, "no test of those for kernels has {filter:?} in its name");
        let mut packed = Vec::new();
        for (path, executable) in programs {
            packed.push(Packed { path, bytes: stripped(&built.strip, executable)? });
        }
        for (path, file) in &built.files {
            let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            packed.push(Packed { path: path.clone(), bytes });
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
fn stripped(strip: &str, program: &Path) -> Result<Vec<u8>> {
    let copy = tempfile::NamedTempFile::new().context("making a temporary file")?;
    let mut command = Command::new(strip);
    command.arg("-o").arg(copy.path()).arg(program);
    process::shown(&mut command).with_context(|| format!("stripping {}", program.display()))?;
    fs::read(copy.path()).with_context(|| format!("reading {}", copy.path().display()))
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
