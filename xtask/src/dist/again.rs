//! The same release once more, from a clone in another folder.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum as _;

use crate::{
    cli::{DistOptions, Preference},
    image::revision,
    process,
    workspace::{Workspace, find_command},
};

/// Clones the commit that is checked out, makes its release and compares with one that is there.
pub fn compare(
    workspace: &Workspace,
    preference: Preference,
    options: &DistOptions,
    first: &Path,
) -> Result<()> {
    ensure!(
        revision::revision(workspace).is_some(),
        "--twice builds the commit that is checked out: commit what was changed since"
    );
    let folder = tempfile::tempdir().context("making a folder for the clone")?;
    let clone = folder.path().join("balancer");
    let mut git = Command::new(find_command("git").context("git is missing")?);
    git.args(["clone", "--quiet", "--no-hardlinks"]).arg(&workspace.root).arg(&clone);
    process::shown(&mut git)?;
    share_tools(&workspace.tools(), &clone)?;
    let second = folder.path().join("dist");
    let mut cargo = Command::new(&workspace.cargo);
    cargo.args(["run", "--quiet", "--package", "xtask", "--"]);
    cargo.args(arguments(preference, options)).arg("--output").arg(&second);
    cargo.current_dir(&clone).env_remove("CARGO_TARGET_DIR").env_remove("CARGO_MANIFEST_DIR");
    process::shown(&mut cargo)?;
    same(first, &second)
}

/// The linkers, and Debian's libraries, are not made again. Where the system has all of them, there
/// is no such folder.
fn share_tools(tools: &Path, clone: &Path) -> Result<()> {
    if !tools.exists() {
        return Ok(());
    }
    fs::create_dir(clone.join("target")).context("making the target directory")?;
    symlink(fs::canonicalize(tools)?, clone.join("target/tools")).context("linking the tools")
}

/// All that decides what is made.
fn arguments(preference: Preference, options: &DistOptions) -> Vec<String> {
    let toolchain = preference.to_possible_value().map(|value| value.get_name().to_owned());
    let toolchain = toolchain.into_iter().flat_map(|name| ["--bpf-toolchain".to_owned(), name]);
    let architectures =
        options.arch.iter().flat_map(|one| ["--arch".to_owned(), one.name().to_owned()]);
    let name = options.name.iter().flat_map(|name| ["--name".to_owned(), name.clone()]);
    ["dist".to_owned()].into_iter().chain(toolchain).chain(architectures).chain(name).collect()
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
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};

    #[test]
    fn the_second_time_has_the_options_of_the_first() {
        let line = "xtask dist --bpf-toolchain nightly --arch amd64,arm64 --name example.com/a:1";
        let read = |line: &[&str]| {
            let cli = Cli::parse_from(line);
            let Verb::Dist(options) = cli.verb else { panic!("{:?}", cli.verb) };
            (cli.bpf_toolchain, options)
        };
        let (preference, first) = read(&line.split(' ').collect::<Vec<_>>());
        let again = arguments(preference, &first);
        let line: Vec<_> = ["xtask"].into_iter().chain(again.iter().map(String::as_str)).collect();
        let (again, second) = read(&line);
        assert_eq!(again, preference);
        assert_eq!(format!("{second:?}"), format!("{first:?}"));
    }

    #[test]
    fn tools_are_shared_where_there_are_some() {
        let folder = tempfile::tempdir().unwrap();
        let (tools, clone) = (folder.path().join("tools"), folder.path().join("clone"));
        fs::create_dir(&clone).unwrap();
        share_tools(&tools, &clone).unwrap();
        assert!(!clone.join("target").exists());
        fs::create_dir(&tools).unwrap();
        share_tools(&tools, &clone).unwrap();
        let there = fs::canonicalize(clone.join("target/tools")).unwrap();
        assert_eq!(there, fs::canonicalize(&tools).unwrap());
    }

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
