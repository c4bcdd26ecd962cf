//! The same release once more, from a clone in another folder.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::DistOptions,
    image::revision,
    process,
    workspace::{Workspace, find_command},
};

/// Clones the commit that is checked out, makes its release and compares with one that is there.
pub fn compare(workspace: &Workspace, options: &DistOptions, first: &Path) -> Result<()> {
    ensure!(
        revision::revision(workspace).is_some(),
        "--twice builds the commit that is checked out: commit what was changed since"
    );
    let folder = tempfile::tempdir().context("making a folder for the clone")?;
    let clone = folder.path().join("balancer");
    let mut git = Command::new(find_command("git").context("git is missing")?);
    git.args(["clone", "--quiet", "--no-hardlinks"]).arg(&workspace.root).arg(&clone);
    process::shown(&mut git)?;
    // The linkers, and Debian's libraries, are not built again.
    fs::create_dir(clone.join("target")).context("making the target directory")?;
    symlink(fs::canonicalize(workspace.tools())?, clone.join("target/tools"))
        .context("linking the tools")?;
    let second = folder.path().join("dist");
    let mut cargo = Command::new(&workspace.cargo);
    cargo.args(["run", "--quiet", "--package", "xtask", "--", "dist", "--output"]).arg(&second);
    for architecture in &options.arch {
        cargo.args(["--arch", architecture.name()]);
    }
    cargo.args(options.name.iter().flat_map(|name| ["--name", name]));
    cargo.current_dir(&clone).env_remove("CARGO_TARGET_DIR").env_remove("CARGO_MANIFEST_DIR");
    process::shown(&mut cargo)?;
    same(first, &second)
}

/// An error that names every file that differs.
fn same(first: &Path, second: &Path) -> Result<()> {
    let names = |folder: &Path| -> Result<BTreeSet<_>> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
    };
    let all: BTreeSet<_> = names(first)?.union(&names(second)?).cloned().collect();
    let differ = |name: &&std::ffi::OsString| {
        let read = |folder: &Path| fs::read(folder.join(name)).ok();
        read(first) != read(second)
    };
    let differing: Vec<_> = all.iter().filter(differ).map(|name| name.to_string_lossy()).collect();
    ensure!(differing.is_empty(), "built twice, these differ: {}", differing.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_or_are_missing_are_named() {
        let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for folder in [&first, &second] {
            fs::write(folder.path().join("a"), "same").unwrap();
        }
        same(first.path(), second.path()).unwrap();
        fs::write(first.path().join("b"), "one").unwrap();
        fs::write(second.path().join("b"), "other").unwrap();
        fs::write(second.path().join("c"), "").unwrap();
        let error = same(first.path(), second.path()).unwrap_err().to_string();
        assert!(error.ends_with("differ: b, c"), "{error}");
    }
}
