//! Runs the binaries from the image alone: what an engine would do with it, without the engine. A
//! binary of another architecture is run by QEMU.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::layout::digest;
use crate::{
    architecture::Architecture,
    pack, setup,
    workspace::{find_command, is_root},
};

/// What an image may weigh, in bytes as registries compress it: every node pulls it.
const LIMIT: usize = 12 << 20;
/// Where the emulator is within the folder.
const EMULATOR: &str = "emulator";

/// Unpacks the image of each architecture by the archive's index, and runs what it is for in a chroot.
pub fn run(archive: &[u8], architectures: &[Architecture]) -> Result<()> {
    if !is_root() {
        bail!("--check runs the binary in a chroot, which needs root; leave the flag out without");
    }
    for &architecture in architectures {
        let name = architecture.name();
        let root = tempfile::tempdir().context("making a folder for the image")?;
        let entrypoint = unpack(archive, architecture, root.path())
            .with_context(|| format!("the image of {name}"))?;
        let mut program = vec![entrypoint];
        if architecture != Architecture::of_host()? {
            let emulator = setup::for_images(architecture)?;
            fs::copy(&emulator, root.path().join(EMULATOR))
                .with_context(|| format!("copying {}", emulator.display()))?;
            program.insert(0, format!("/{EMULATOR}"));
        }
        for (args, codes, says) in [
            (["--version"].as_slice(), [0].as_slice(), "balancer-agent "),
            (&["run", "--help"], &[0], "--healthz-bind-address"),
            // The image has neither /proc nor /sys, which engines mount: 4 says that the node lacks
            // something.
            (&["doctor"], &[0, 4], "privileges"),
        ] {
            ran(root.path(), &program, args, codes, says)
                .with_context(|| format!("the image of {name}"))?;
        }
    }
    Ok(())
}

/// Checks every blob on the way, and returns the program that is started.
fn unpack(archive: &[u8], architecture: Architecture, root: &Path) -> Result<String> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).context("no JSON");
    let mut index = parse(&file(archive, "index.json")?)?;
    if index["manifests"][0]["platform"].is_null() {
        index = parse(&blob(archive, &index["manifests"][0])?)?;
    }
    let is_wanted =
        |described: &&Value| described["platform"]["architecture"] == architecture.name();
    let described = index["manifests"].as_array().and_then(|all| all.iter().find(is_wanted));
    let manifest = parse(&blob(archive, described.context("the index does not name it")?)?)?;
    let config = parse(&blob(archive, &manifest["config"])?)?;
    ensure!(config["architecture"] == architecture.name(), "its config is of another architecture");
    for layer in manifest["layers"].as_array().context("the manifest has no layers")? {
        let layer = blob(archive, layer)?;
        let weighs = pack::gzip(&layer)?.len();
        ensure!(weighs <= LIMIT, "{weighs} bytes compressed, more than {LIMIT}");
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

fn ran(root: &Path, program: &[String], args: &[&str], codes: &[i32], says: &str) -> Result<()> {
    let chroot = find_command("chroot").context("chroot is missing: install coreutils")?;
    let mut command = Command::new(chroot);
    command.arg(root).args(program).args(args).stdin(Stdio::null()).env_clear();
    let output = command.output().context("starting chroot")?;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let ended_well = output.status.code().is_some_and(|code| codes.contains(&code));
    if !ended_well || !out.contains(says) {
        let program = program.join(" ");
        bail!("`{program} {}` in the image: {}\n{out}{err}", args.join(" "), output.status);
    }
    Ok(())
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
