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
    let folders = [
        "",
        "docs",
        "docs/runbooks",
        "deploy",
        "deploy/helm/balancer",
        "balancer-lab",
        "balancer-agent",
    ]
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
    let names = ["", "runbooks/"].into_iter().flat_map(|below| {
        let entries = fs::read_dir(folder.join(below)).expect("the docs");
        entries.map(move |entry| {
            let name = entry.expect("an entry").file_name();
            format!("{below}{}", name.to_string_lossy())
        })
    });
    let mut pages: Vec<_> =
        names.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect();
    pages.sort();
    assert_eq!(listed, pages);
}

/// A row of `docs/conformance.md` says how much of a test is done here in one of these words.
const DONE: [&str; 5] = ["same", "in part", "rule", "not yet", "no"];

/// Whether a function with this name stands below an attribute of a test.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let is_it = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    let is_test = |line: &&str| ["#[test]", "#[tokio::test]"].contains(line);
    (1..lines.len()).any(|n| is_it(lines[n]) && is_test(&lines[n - 1]))
}

/// `file::test`, with the file below one of two folders, and the test in it.
#[test]
fn tests_that_are_said_to_do_what_those_of_kubernetes_do_are_there() {
    let root = root();
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("the table of tests");
    let folders = ["balancer-lab/tests/node", "balancer-agent/src"].map(|one| root.join(one));
    let (mut gone, mut named) = (Vec::new(), 0);
    for (file, name) in quoted(&text).filter_map(|quoted| quoted.split_once("::")) {
        if (file, name) == ("file", "test") {
            continue;
        }
        named += 1;
        let sources = folders.iter().map(|folder| folder.join(file).with_extension("rs"));
        let sources: Vec<_> = sources.filter_map(|path| fs::read_to_string(path).ok()).collect();
        if !sources.iter().any(|source| has_test(source, name)) {
            gone.push(format!("{file}::{name}"));
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
    assert!(named > 50, "only {named} tests are named");

    let answers = text.lines().filter_map(|line| line.strip_suffix(" |")?.split(" | ").nth(2));
    let answers = answers.filter(|answer| !["here", "---"].contains(answer));
    let begins = |answer: &&str| {
        DONE.iter().any(|word| {
            answer
                .strip_prefix(word)
                .is_some_and(|rest| rest.is_empty() || ":;,".contains(&rest[..1]))
        })
    };
    let unclear: Vec<_> = answers.filter(|answer| !begins(answer)).collect();
    assert!(unclear.is_empty(), "{unclear:#?}");
}
