//! The container image: one static binary, what it is made of, and nothing else. It is written as an
//! OCI archive without any container engine, and the same sources give the same bytes.

mod check;
mod layout;
mod revision;
mod sbom;
mod time;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    cli::ImageOptions,
    compile,
    setup::Toolchain,
    shipped::{self, AGENT},
    ui,
    workspace::Workspace,
};
use layout::{Archive, File, Image};

const DESCRIPTION: &str =
    "Chooses the backend of a Kubernetes Service inside connect(), by fewest open connections";

/// Builds the image and writes it.
pub fn run(workspace: &Workspace, toolchain: &Toolchain, options: &ImageOptions) -> Result<()> {
    compile::object(workspace, toolchain)?;
    let agent = shipped::agent(workspace)?;
    let binary =
        fs::read(&agent.path).with_context(|| format!("reading {}", agent.path.display()))?;
    let package = sbom::packages(workspace, &agent.target)?;
    let bill = package.bill()?;
    let archive = Archive::of(&image(workspace, &package.version, &binary, &bill)?)?;

    let output = options.output.clone().unwrap_or_else(|| default_output(workspace, &package));
    let bill_output = output.with_extension("cdx.json");
    let write = |path: &PathBuf, bytes: &[u8]| {
        fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    write(&output, &archive.bytes)?;
    write(&bill_output, &bill)?;
    ui::note(&format!("image: {} ({})", output.display(), archive.digest));
    ui::note(&format!("what it is made of: {}", bill_output.display()));
    if options.check {
        check::run(&archive.bytes)?;
        ui::note("the binary runs from the image alone, in a chroot");
    }
    Ok(())
}

fn default_output(workspace: &Workspace, package: &sbom::Packages) -> PathBuf {
    workspace.target.join(format!("{AGENT}-{}.tar", package.version))
}

fn image(workspace: &Workspace, version: &str, binary: &[u8], bill: &[u8]) -> Result<Image> {
    let licence = |name: &str| {
        let path = workspace.root.join(name);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let doc = "usr/share/doc/balancer-agent";
    let labels = [
        ("title", AGENT.to_owned()),
        ("description", DESCRIPTION.to_owned()),
        ("version", version.to_owned()),
        ("licenses", "Apache-2.0".to_owned()),
        ("created", time::rfc3339(time::of_sources(workspace)?)),
    ];
    let labels = labels.into_iter().chain(revision::revision(workspace).map(|id| ("revision", id)));
    Ok(Image {
        name: format!("{AGENT}:{version}"),
        architecture: layout::architecture()?,
        created: time::rfc3339(time::of_sources(workspace)?),
        labels: labels
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value))
            .collect(),
        entrypoint: format!("/{AGENT}"),
        files: vec![
            File { path: AGENT.to_owned(), mode: 0o755, bytes: binary.to_owned() },
            File { path: format!("{doc}/sbom.cdx.json"), mode: 0o644, bytes: bill.to_owned() },
            File {
                path: format!("{doc}/LICENSE-APACHE"),
                mode: 0o644,
                bytes: licence("LICENSE-APACHE")?,
            },
            File {
                path: format!("{doc}/LICENSE-GPL-2.0"),
                mode: 0o644,
                bytes: licence("LICENSE-GPL-2.0")?,
            },
        ],
    })
}
