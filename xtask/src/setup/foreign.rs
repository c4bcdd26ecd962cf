//! Debian's packages for another architecture, unpacked into a folder. apt has lists of its own for
//! them: this machine's packages, architectures and lists stay as they are.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::apt;
use crate::{architecture::Architecture, process, workspace::find_command};

const LIMIT: Duration = Duration::from_secs(600);

/// Downloads packages, each `NAME` or `NAME=VERSION`, and unpacks them into one folder.
pub fn unpack(packages: &[&str], architecture: Architecture, folder: &Path) -> Result<()> {
    ensure!(apt::is_there() && find_command("dpkg-deb").is_some(), "this takes Debian");
    let state = tempfile::tempdir().context("making a folder for apt")?;
    for part in ["lists/partial", "cache/archives/partial", "packages"] {
        let part = state.path().join(part);
        fs::create_dir_all(&part).with_context(|| format!("making {}", part.display()))?;
    }
    let name = architecture.name();
    let mut update = apt_get(state.path(), architecture);
    process::watched(
        &format!("fetching lists of packages for {name}"),
        update.arg("update"),
        LIMIT,
    )?;
    let downloads = state.path().join("packages");
    let mut download = apt_get(state.path(), architecture);
    download.arg("download").args(packages).current_dir(&downloads);
    process::watched(
        &format!("downloading {} for {name}", packages.join(", ")),
        &mut download,
        LIMIT,
    )?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut unpacked = 0;
    for entry in fs::read_dir(&downloads).context("reading the downloads")? {
        let package = entry.context("reading the downloads")?.path();
        let mut command = Command::new("dpkg-deb");
        process::shown(command.arg("--extract").arg(&package).arg(folder))?;
        unpacked += 1;
    }
    if unpacked < packages.len() {
        bail!("apt-get downloaded {unpacked} of {}", packages.join(", "));
    }
    Ok(())
}

/// apt as on a machine of that architecture, with the sources of this one.
fn apt_get(state: &Path, architecture: Architecture) -> Command {
    let mut command = Command::new("apt-get");
    let (state, name) = (state.display(), architecture.name());
    for option in [
        format!("APT::Architecture={name}"),
        format!("APT::Architectures={name}"),
        format!("Dir::State::Lists={state}/lists"),
        format!("Dir::Cache={state}/cache"),
        "Acquire::Languages=none".to_owned(),
        "Acquire::Retries=1".to_owned(),
        "Acquire::http::Timeout=20".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        // apt's own user may not see the folder.
        "APT::Sandbox::User=root".to_owned(),
    ] {
        command.args(["-o", &option]);
    }
    command
}
