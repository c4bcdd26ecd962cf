//! The docs name files that are there.
//!
//! - A path in backticks that begins with a folder of the workspace.
//! - The target of a link that is no address of the web, and its heading.
//!
//! The table of contents of the site has every page of `docs` once.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The folders and files of this repository that a path can begin with.
fn beginnings(root: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(root).expect("the workspace").map(|entry| entry.expect("an entry"));
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "target").collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every document, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let root = root();
    let folders = ["", "docs", "deploy", "deploy/helm/balancer", "balancer-lab", "balancer-agent"]
        .map(|one| root.join(one));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let documents = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
    documents.map(|path| (path.clone(), fs::read_to_string(&path).expect("a text"))).collect()
}

/// What stands in backticks within a line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// A path without what a reader adds to it: a line, a place holder, an alternative. Annotations look
/// like the files of a crate that has none of these names.
fn is_plain(path: &str) -> bool {
    let is_annotation = path
        .strip_prefix("balancer-agent/")
        .is_some_and(|name| name == "..." || !name.contains(['/', '.']) && name != "src");
    path.contains('/')
        && !is_annotation
        && path.chars().all(|one| one.is_ascii_alphanumeric() || "/._-".contains(one))
}

/// The heading's name as a browser knows it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one));
    kept.map(|one| if one == ' ' { '-' } else { one }).collect()
}

/// The targets of links: `](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[test]
fn paths_in_the_docs_are_there() {
    let (root, mut gone) = (root(), Vec::new());
    let beginnings = beginnings(&root);
    let documents = documents();
    assert!(documents.len() > 10, "only {} documents", documents.len());
    for (document, text) in &documents {
        for path in quoted(text).filter(|path| is_plain(path)) {
            let begins = path.split('/').next().is_some_and(|first| beginnings.contains(first));
            if begins && !root.join(path).exists() {
                gone.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut broken = Vec::new();
    for (document, text) in documents() {
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("a folder").join(path),
            };
            let has_heading = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                text.lines().any(|line| line.starts_with('#') && anchor(line) == heading)
            };
            if !target.exists() || !(heading.is_empty() || has_heading()) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let folder = root().join("docs");
    let contents = fs::read_to_string(folder.join("SUMMARY.md")).expect("a table of contents");
    let mut listed: Vec<_> = links(&contents).map(str::to_owned).collect();
    listed.sort();
    let entries = fs::read_dir(&folder).expect("the docs").map(|entry| entry.expect("an entry"));
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut pages: Vec<_> =
        names.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect();
    pages.sort();
    assert_eq!(listed, pages);
}
