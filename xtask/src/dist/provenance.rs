//! From what, with what and how the files were made: a statement of in-toto with SLSA's provenance. It
//! has neither time nor place. <https://slsa.dev/spec/v1.0/provenance>

use std::{fs, process::Command};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    cli::DistOptions,
    image::revision,
    pack::{File, sha256},
    process,
    setup::Toolchain,
    workspace::Workspace,
};

/// By which a statement of this program is known.
pub const BUILD_TYPE: &str = "urn:balancer:xtask:dist:1";

/// Whether a statement is one that this program has made.
pub fn is_own(statement: &[u8]) -> bool {
    let statement: Value = serde_json::from_slice(statement).unwrap_or_default();
    statement["predicate"]["buildDefinition"]["buildType"] == BUILD_TYPE
}

/// The statement about these files.
pub fn statement(
    workspace: &Workspace,
    toolchain: &Toolchain,
    options: &DistOptions,
    files: &[File],
) -> Result<Vec<u8>> {
    let mut sources = vec![json!({
        "name": "Cargo.lock",
        "digest": {"sha256": sha256(&fs::read(workspace.root.join("Cargo.lock"))?)},
    })];
    if let Some(commit) = revision::revision(workspace) {
        sources.push(json!({"name": "commit", "digest": {"gitCommit": commit}}));
    }
    let version = process::probe(Command::new(&workspace.cargo).arg("--version"));
    let subjects: Vec<Value> = files
        .iter()
        .map(|file| json!({"name": file.path, "digest": {"sha256": sha256(&file.bytes)}}))
        .collect();
    let architectures: Vec<_> = options.arch.iter().map(|one| one.name()).collect();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"arch": architectures, "name": options.name},
                "internalParameters": {
                    "cargo": version.context("cargo --version does not run")?.trim(),
                    "rustc of the eBPF programs": toolchain.release.to_string(),
                    "LLVM of the eBPF programs": toolchain.llvm,
                },
                "resolvedDependencies": sources,
            },
            "runDetails": {"builder": {"id": "urn:balancer:xtask"}},
        },
    });
    let mut text = serde_json::to_vec_pretty(&statement).context("writing the statement")?;
    text.push(b'\n');
    Ok(text)
}
