//! The plugin of kubectl: an archive that is the same on every machine, and its description for krew.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::{
    image,
    pack::{self, File, sha256},
    workspace::Workspace,
};

const PROGRAM: &str = "kubectl-balancer";
/// What stands in the description for that of the archive.
const CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The archive of a version, and the description with its version and checksum.
pub fn files(workspace: &Workspace, version: &str) -> Result<Vec<File>> {
    let folder = workspace.root.join("deploy/kubectl");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let mut held = image::licences(workspace, PROGRAM)?;
    held.push(File::program(format!("{PROGRAM}/{PROGRAM}"), read(PROGRAM)?.into_bytes()));
    let archive = pack::tar_gz(&held)?;
    let description = describe(&read("balancer.yaml")?, version, &sha256(&archive))?;
    Ok(vec![
        File::plain(format!("{PROGRAM}-{version}.tar.gz"), archive),
        File::plain(format!("{PROGRAM}-{version}.krew.yaml"), description),
    ])
}

/// Writes version, name and checksum of the archive into the description.
fn describe(text: &str, version: &str, checksum: &str) -> Result<String> {
    let mut described = text.to_owned();
    for (from, to) in [
        (CHECKSUM.to_owned(), checksum.to_owned()),
        ("version: v0.1.0".to_owned(), format!("version: v{version}")),
        (format!("{PROGRAM}.tar.gz"), format!("{PROGRAM}-{version}.tar.gz")),
    ] {
        ensure!(described.contains(&from), "deploy/kubectl/balancer.yaml has no `{from}`");
        described = described.replace(&from, &to);
    }
    Ok(described)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../../deploy/kubectl/balancer.yaml");

    #[test]
    fn the_description_is_of_this_archive() {
        let described = describe(TEXT, "1.2.3", &"ab".repeat(32)).unwrap();
        assert!(described.contains("version: v1.2.3"), "{described}");
        assert!(described.contains("kubectl-balancer-1.2.3.tar.gz"), "{described}");
        assert!(described.contains(&format!("sha256: \"{}\"", "ab".repeat(32))), "{described}");
    }

    #[test]
    fn a_description_without_a_place_for_it_is_an_error() {
        let error = describe("kind: Plugin", "1.2.3", "ab").unwrap_err();
        assert!(error.to_string().contains("balancer.yaml"), "{error}");
    }
}
