//! What is handed out of a release: for each architecture an archive with the binary, its completions and
//! man pages; the image; the chart; checksums, and a statement of how all that was made.
//!
//! The stages, in their order:
//!
//! - [`archive`] packs the binary with what belongs to it,
//! - [`chart`] packs the chart, as a file and as an OCI artifact,
//! - [`plugin`] packs the plugin of kubectl,
//! - [`provenance`] states from what and how it was made,
//! - [`again`] makes all of it once more from a clone, and compares.

mod again;
mod archive;
mod chart;
mod plugin;
mod provenance;

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    cli::{DistOptions, Preference},
    image,
    pack::{File, sha256},
    setup::Toolchain,
    shipped::AGENT,
    ui,
    workspace::Workspace,
};

/// The checksums, as `sha256sum --check` reads them.
const SUMS: &str = "SHA256SUMS";
/// The statement, whose form is that of in-toto.
const STATEMENT: &str = "provenance.intoto.json";

/// Makes the files, and once more where that is asked for.
pub fn run(
    workspace: &Workspace,
    toolchain: &Toolchain,
    preference: Preference,
    options: &DistOptions,
) -> Result<()> {
    let folder = options.output.clone().unwrap_or_else(|| workspace.target.join("dist"));
    // Building takes minutes.
    ensure_replaceable(&folder)?;
    let files = files(workspace, toolchain, options)?;
    write(&folder, &files)?;
    ui::note(&format!("{} files in {}", files.len(), folder.display()));
    if options.twice {
        again::compare(workspace, preference, options, &folder)?;
        ui::note("a clone in another folder gives the same bytes");
    }
    Ok(())
}

fn files(workspace: &Workspace, toolchain: &Toolchain, options: &DistOptions) -> Result<Vec<File>> {
    let built = image::build(workspace, toolchain, &options.arch)?;
    let version = built.first().context("nothing was built")?.version.clone();
    let extras = archive::Extras::ask(workspace, &built)?;
    let mut files = Vec::new();
    for one in &built {
        files.push(archive::of(workspace, one, &extras)?);
    }
    let name = options.name.clone().unwrap_or_else(|| format!("{AGENT}:{version}"));
    let image = image::archive(workspace, &name, &built)?;
    files.push(File::plain(format!("{AGENT}-{version}.image.tar"), image.bytes));
    files.extend(chart::files(workspace)?);
    files.extend(plugin::files(workspace, &version)?);
    let statement = provenance::statement(workspace, toolchain, options, &files)?;
    files.push(File::plain(STATEMENT, statement));
    let sums: String =
        files.iter().map(|file| format!("{}  {}\n", sha256(&file.bytes), file.path)).collect();
    files.push(File::plain(SUMS, sums));
    Ok(files)
}

/// A folder that is given by mistake loses nothing.
fn ensure_replaceable(folder: &Path) -> Result<()> {
    let mut entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("reading {}", folder.display()))?,
    };
    let statement = fs::read(folder.join(STATEMENT)).unwrap_or_default();
    ensure!(
        entries.next().is_none() || provenance::is_own(&statement),
        "{} is not empty and holds no release of balancer: empty it, or name another folder with \
         --output",
        folder.display()
    );
    Ok(())
}

/// Nothing else is left in the folder: checksums are of all that is there.
fn write(folder: &Path, files: &[File]) -> Result<()> {
    ensure_replaceable(folder)?;
    if folder.join(STATEMENT).exists() {
        fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for file in files {
        let path = folder.join(&file.path);
        fs::write(&path, &file.bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_replaces_a_release_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("dist");
        let release = |name: &str| {
            let statement = serde_json::json!({"predicate": {"buildDefinition": {
                "buildType": provenance::BUILD_TYPE}}});
            [File::plain(name, ""), File::plain(STATEMENT, statement.to_string())]
        };
        write(&folder, &release("old")).unwrap();
        write(&folder, &release("new")).unwrap();
        assert!(folder.join("new").exists() && !folder.join("old").exists());
        // Of another project, which has both files too.
        for (name, text) in [(SUMS, ""), (STATEMENT, r#"{"predicate": {}}"#), ("mine", "")] {
            fs::write(folder.join(name), text).unwrap();
        }
        let error = write(&folder, &release("newer")).unwrap_err().to_string();
        assert!(error.contains("holds no release") && error.contains("--output"), "{error}");
        assert!(folder.join("mine").exists());
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        write(&folder, &release("first")).unwrap();
    }
}
