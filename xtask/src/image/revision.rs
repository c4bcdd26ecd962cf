//! The commit that an image is of.

use std::process::Command;

use crate::{process, workspace::Workspace};

/// The commit that is checked out, where it is and nothing was changed since.
pub fn revision(workspace: &Workspace) -> Option<String> {
    let git = |args: &[&str]| {
        process::probe(Command::new("git").args(args).current_dir(&workspace.root))
            .map(|text| text.trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    changed.is_empty().then(|| git(&["rev-parse", "HEAD"])).flatten()
}
