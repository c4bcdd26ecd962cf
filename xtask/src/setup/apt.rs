//! Debian's packages.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};

use crate::{process, workspace};

const LIMIT: Duration = Duration::from_secs(900);

/// Whether this system has apt at all.
pub fn is_there() -> bool {
    workspace::find_command("apt-get").is_some()
}

/// The line a user can run to install packages.
pub fn line(packages: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Installs packages as root; anybody else is told the line to run.
pub fn install(packages: &[&str]) -> Result<()> {
    if !is_there() {
        bail!(
            "this system has no apt-get: install what Debian calls {} with its own package manager",
            packages.join(", ")
        );
    }
    if !workspace::is_root() {
        bail!("packages are missing, run: sudo {}", line(packages));
    }
    let label = format!("installing {} with apt-get", packages.join(", "));
    // The lists of a fresh image are empty, those of an old one name files that are gone.
    if process::watched(&label, apt_get("install").args(packages), LIMIT).is_ok() {
        return Ok(());
    }
    process::watched("fetching apt's lists of packages", &mut apt_get("update"), LIMIT)?;
    process::watched(&label, apt_get("install").args(packages), LIMIT)
}

fn apt_get(verb: &str) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"])
        .args(["-o", "DPkg::Lock::Timeout=120", "--yes", verb]);
    if verb == "install" {
        command.arg("--no-install-recommends");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_can_be_pasted() {
        assert_eq!(
            line(&["iproute2", "nftables"]),
            "apt-get install --no-install-recommends iproute2 nftables"
        );
    }
}
