//! The container image: one static binary, what it is made of, and nothing else. It is written as an
//! OCI archive without any container engine, and the same sources give the same bytes.

mod check;
pub mod layout;
pub mod revision;
pub mod sbom;
pub mod time;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    architecture::Architecture,
    cli::ImageOptions,
    compile,
    pack::File,
    setup::{self, Toolchain},
    shipped::{self, AGENT},
    ui,
    workspace::Workspace,
};
use layout::{Archive, Image};

const DESCRIPTION: &str =
    "Chooses the backend of a Kubernetes Service inside connect(), by fewest open connections";

/// The agent for one architecture.
#[derive(Debug)]
pub struct Built {
    /// What it is for.
    pub architecture: Architecture,
    /// Its version.
    pub version: String,
    /// The static binary.
    pub binary: Vec<u8>,
    /// What it is made of: CycloneDX.
    pub bill: Vec<u8>,
}

/// Builds the image and writes it.
pub fn run(workspace: &Workspace, toolchain: &Toolchain, options: &ImageOptions) -> Result<()> {
    let built = build(workspace, toolchain, &options.arch)?;
    let version = built.first().map(|one| one.version.clone()).unwrap_or_default();
    let name = options.name.clone().unwrap_or_else(|| format!("{AGENT}:{version}"));
    let archive = archive(workspace, &name, &built)?;

    let file = || workspace.target.join(format!("{AGENT}-{version}.tar"));
    let output = options.output.clone().unwrap_or_else(file);
    write(&output, &archive.bytes)?;
    ui::note(&format!("image: {} ({name}, {})", output.display(), archive.digest));
    for one in &built {
        let path = bill_path(&output, one.architecture, built.len());
        write(&path, &one.bill)?;
        ui::note(&format!("what it is made of: {}", path.display()));
    }
    if options.check {
        let architectures: Vec<_> = built.iter().map(|one| one.architecture).collect();
        check::run(&archive.bytes, &architectures)?;
        ui::note("the binary runs from the image alone, in a chroot");
    }
    Ok(())
}

/// Builds the agent for each architecture; for that of this machine where none is named.
pub fn build(
    workspace: &Workspace,
    toolchain: &Toolchain,
    wanted: &[Architecture],
) -> Result<Vec<Built>> {
    let mut wanted = wanted.to_vec();
    if wanted.is_empty() {
        wanted.push(Architecture::of_host()?);
    }
    wanted.sort();
    wanted.dedup();
    // What the others need is known before the first is built.
    let targets: Vec<_> = wanted
        .into_iter()
        .map(|architecture| setup::target(workspace, toolchain, architecture))
        .collect::<Result<_>>()?;
    compile::object(workspace, toolchain)?;
    let one = |target: &setup::Target| {
        let path = shipped::agent(workspace, target)?;
        let binary = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let packages = sbom::packages(workspace, &target.triple)?;
        let (architecture, bill) = (target.architecture, packages.bill()?);
        Ok(Built { architecture, version: packages.version, binary, bill })
    };
    targets.iter().map(one).collect()
}

/// The image of all architectures.
pub fn archive(workspace: &Workspace, name: &str, built: &[Built]) -> Result<Archive> {
    let images: Vec<_> = built.iter().map(|one| image(workspace, one)).collect::<Result<_>>()?;
    Archive::of(name, &images)
}

/// The texts of the licences, by the names of their files.
pub fn licences(workspace: &Workspace, folder: &str) -> Result<Vec<File>> {
    let licence = |name: &str| {
        let path = workspace.root.join(name);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(File::plain(format!("{folder}/{name}"), text))
    };
    ["LICENSE-APACHE", "LICENSE-GPL-2.0"].into_iter().map(licence).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Beside the archive; of several architectures each names its own.
fn bill_path(output: &Path, architecture: Architecture, of: usize) -> PathBuf {
    let end = "cdx.json";
    if of == 1 {
        return output.with_extension(end);
    }
    output.with_extension(format!("{}.{end}", architecture.name()))
}

fn image(workspace: &Workspace, built: &Built) -> Result<Image> {
    let created = time::rfc3339(time::of_sources(workspace)?);
    let labels = [
        ("title", AGENT.to_owned()),
        ("description", DESCRIPTION.to_owned()),
        ("version", built.version.clone()),
        ("licenses", "Apache-2.0".to_owned()),
        ("created", created.clone()),
    ];
    let labels = labels.into_iter().chain(revision::revision(workspace).map(|id| ("revision", id)));
    let doc = "usr/share/doc/balancer-agent";
    let mut files = licences(workspace, doc)?;
    files.push(File::program(AGENT, built.binary.clone()));
    files.push(File::plain(format!("{doc}/sbom.cdx.json"), built.bill.clone()));
    Ok(Image {
        architecture: built.architecture,
        created,
        labels: labels
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value))
            .collect(),
        entrypoint: format!("/{AGENT}"),
        files,
    })
}
