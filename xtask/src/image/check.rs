//! Runs the binary from the image alone: what an engine would do with it, without the engine.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::layout::digest;
use crate::workspace::{find_command, is_root};

/// Unpacks the archive by its index and runs what it is for in a chroot.
pub fn run(archive: &[u8]) -> Result<()> {
    if !is_root() {
        bail!("--check runs the binary in a chroot, which needs root; leave the flag out without");
    }
    let root = tempfile::tempdir().context("making a folder for the image")?;
    let entrypoint = unpack(archive, root.path())?;
    let ran =
        |args: &[&str], codes: &[i32], says: &str| ran(root.path(), &entrypoint, args, codes, says);
    ran(&["--version"], &[0], "balancer-agent ")?;
    ran(&["run", "--help"], &[0], "--healthz-bind-address")?;
    // The image has neither /proc nor /sys, which engines mount: 4 says that the node lacks something.
    ran(&["doctor"], &[0, 4], "privileges")
}

/// Checks every blob on the way, and returns the program that is started.
fn unpack(archive: &[u8], root: &Path) -> Result<String> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).context("no JSON");
    let index = parse(&file(archive, "index.json")?)?;
    let manifest = parse(&blob(archive, &index["manifests"][0])?)?;
    let config = parse(&blob(archive, &manifest["config"])?)?;
    for layer in manifest["layers"].as_array().context("the manifest has no layers")? {
        let layer = blob(archive, layer)?;
        tar::Archive::new(layer.as_slice()).unpack(root).context("unpacking a layer")?;
    }
    let bill = root.join("usr/share/doc/balancer-agent/sbom.cdx.json");
    let bill = parse(&fs::read(&bill).with_context(|| format!("reading {}", bill.display()))?)?;
    ensure!(bill["components"].as_array().is_some_and(|all| !all.is_empty()), "an empty bill");
    let entrypoint = config["config"]["Entrypoint"][0].as_str();
    Ok(entrypoint.context("the image has no entrypoint")?.to_owned())
}

fn blob(archive: &[u8], descriptor: &Value) -> Result<Vec<u8>> {
    let wanted = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    let bytes = file(archive, &format!("blobs/{}", wanted.replace(':', "/")))?;
    ensure!(digest(&bytes) == wanted, "the blob {wanted} has another digest");
    Ok(bytes)
}

fn file(archive: &[u8], path: &str) -> Result<Vec<u8>> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if entry.path()? == Path::new(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    bail!("{path} is not in the archive")
}

fn ran(root: &Path, program: &str, args: &[&str], codes: &[i32], says: &str) -> Result<()> {
    let chroot = find_command("chroot").context("chroot is missing: install coreutils")?;
    let mut command = Command::new(chroot);
    command.arg(root).arg(program).args(args).stdin(Stdio::null()).env_clear();
    let output = command.output().context("starting chroot")?;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let ended_well = output.status.code().is_some_and(|code| codes.contains(&code));
    if !ended_well || !out.contains(says) {
        bail!("`{program} {}` in the image: {}\n{out}{err}", args.join(" "), output.status);
    }
    Ok(())
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
