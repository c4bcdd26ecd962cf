//! apt with lists, cache and sources of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{super::series::SERIES, index::Package};
use crate::{architecture::Architecture, process, workspace::find_command};

/// What signs Debian's archive; part of every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIMIT: Duration = Duration::from_secs(180);

/// A state of apt.
pub struct Apt {
    folder: PathBuf,
    architecture: Architecture,
}

impl Apt {
    /// Writes the sources and fetches their lists.
    pub fn prepare(folder: &Path, architecture: Architecture) -> Result<Self> {
        for command in ["apt-get", "apt-cache", "dpkg-deb"] {
            ensure!(find_command(command).is_some(), "{command} is missing: this takes Debian");
        }
        ensure!(Path::new(KEYRING).is_file(), "{KEYRING} is missing: this takes Debian");
        let told = process::probe(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE)",
            "Created-By: Packages",
        ]));
        let sources = sources(&told.unwrap_or_default())?;
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("making {}", part.display()))?;
        }
        let list = folder.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("writing {}", list.display()))?;
        let apt = Self { folder: folder.to_owned(), architecture };
        process::watched("fetching lists of kernels", apt.command("apt-get").arg("update"), LIMIT)?;
        Ok(apt)
    }

    /// All packages of the sources, as apt describes them.
    pub fn available(&self) -> Result<String> {
        process::probe(self.command("apt-cache").arg("dumpavail"))
            .context("`apt-cache dumpavail` failed")
    }

    /// Downloads a package into a folder.
    pub fn download(&self, package: &Package, folder: &Path) -> Result<PathBuf> {
        let mut command = self.command("apt-get");
        command.arg("download").arg(format!("{}={}", package.name, package.version));
        command.current_dir(folder);
        process::watched(&format!("downloading {}", package.name), &mut command, LIMIT)?;
        let entries =
            fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .with_context(|| format!("apt-get left no package in {}", folder.display()))
    }

    /// The machine's own settings stay in force where nothing else is said: they may name a proxy.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        let architecture = self.architecture.name();
        for option in [
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=1".to_owned(),
            "Acquire::http::Timeout=20".to_owned(),
            // apt's own user may not see the target directory.
            "APT::Sandbox::User=root".to_owned(),
            // Lists of software with icons, where a machine asks for them too.
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// Lines of sources for the suites, from the archives that the machine itself uses.
fn sources(machine: &str) -> Result<String> {
    let archive = |security: bool| {
        machine.lines().find_map(|line| {
            let (uri, suite) = line.split_once(' ')?;
            (uri.contains("debian") && suite.ends_with("-security") == security).then_some(uri)
        })
    };
    let (Some(main), Some(security)) = (archive(false), archive(true)) else {
        bail!("apt's sources here name no archive of Debian with its security updates");
    };
    let mut suites: Vec<_> = SERIES.iter().flat_map(|series| series.suites).collect();
    suites.dedup();
    let line = |suite: &str| {
        let archive = if suite.ends_with("-security") { security } else { main };
        format!("deb [signed-by={KEYRING}] {archive} {suite} main\n")
    };
    Ok(suites.into_iter().map(|suite| line(suite)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_those_of_the_machine() {
        let machine = "http://mirror.example/debian/ bookworm\n\
                       http://mirror.example/debian/ bookworm-updates\n\
                       http://mirror.example/debian-security/ bookworm-security\n";
        let sources = sources(machine).unwrap();
        let lines: Vec<_> = sources.lines().collect();
        assert!(lines.iter().any(|line| {
            line.ends_with("] http://mirror.example/debian-security/ bookworm-security main")
        }));
        assert!(lines.iter().any(|line| {
            line.ends_with("] http://mirror.example/debian/ trixie-backports main")
        }));
        assert_eq!(lines.len(), 4, "each suite once: {lines:#?}");
    }

    #[test]
    fn another_distribution_is_told() {
        let error = sources("http://mirror.example/ubuntu/ noble\n").unwrap_err().to_string();
        assert!(error.contains("no archive of Debian"), "{error}");
    }
}
