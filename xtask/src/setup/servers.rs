//! Servers that tests run in pods, kubectl, promtool and a terminal: installed as Debian has them, and never
//! started by the system.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::apt;
use crate::{process, workspace::find_command};

/// What Debian's packages ask before they start a service; 101 is "no".
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// A package, and how to see that it is installed.
struct Server {
    package: &'static str,
    is_there: fn() -> bool,
    /// The service that the package would start, now and at every boot.
    service: Option<&'static str>,
}

const SERVERS: [Server; 6] = [
    Server { package: "postgresql", is_there: has_postgres, service: Some("postgresql") },
    Server {
        package: "rabbitmq-server",
        is_there: || Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").is_file(),
        service: Some("rabbitmq-server"),
    },
    Server {
        package: "dnsmasq-base",
        is_there: || find_command("dnsmasq").is_some(),
        service: None,
    },
    Server {
        package: "kubernetes-client",
        is_there: || find_command("kubectl").is_some(),
        service: None,
    },
    Server { package: "tmux", is_there: || find_command("tmux").is_some(), service: None },
    // No smaller package of Debian has promtool.
    Server {
        package: "prometheus",
        is_there: || find_command("promtool").is_some(),
        service: Some("prometheus"),
    },
];

/// Makes sure of the servers.
pub fn for_tests() -> Result<()> {
    let missing: Vec<_> = SERVERS.iter().filter(|server| !(server.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|server| server.package).collect();
    let refusal = Refusal::write(Path::new(POLICY))?;
    apt::install(&packages).context("tests run real servers")?;
    drop(refusal);
    for service in missing.iter().filter_map(|server| server.service) {
        // Of the boots to come. Its failure would leave a service enabled, no less.
        process::shown(Command::new("update-rc.d").args([service, "disable"]))
            .with_context(|| format!("keeping {service} from starting at boot"))?;
    }
    Ok(())
}

fn has_postgres() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path()).any(|path| path.join("bin/postgres").is_file())
}

/// Forbids packages to start services while they are installed. A policy that is there already is
/// somebody's decision, and stays as it is.
struct Refusal(Option<PathBuf>);

impl Refusal {
    fn write(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path);
        match file {
            Ok(mut file) => {
                let refusal = Self(Some(path.to_owned()));
                file.write_all(b"#!/bin/sh\nexit 101\n")
                    .with_context(|| format!("writing {}", path.display()))?;
                Ok(refusal)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self(None)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(Self(None)),
            Err(error) => Err(error).with_context(|| format!("creating {}", path.display())),
        }
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // It may have been removed already; there is nothing left to do about another reason.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_refused_only_while_packages_are_installed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy-rc.d");
        let refusal = Refusal::write(&path).unwrap();
        assert_eq!(Command::new(&path).status().unwrap().code(), Some(101));
        drop(refusal);
        assert!(!path.exists());
    }

    #[test]
    fn a_policy_that_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy-rc.d");
        fs::write(&path, "mine").unwrap();
        drop(Refusal::write(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
