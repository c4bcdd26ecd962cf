//! Modules of every crate import in one direction.
//!
//! - The root of a crate lists its modules, and each imports only those that stand before it there.
//! - Below, no modules of one folder import each other in a circle.
//!
//! - A program of tests in a folder has every file of it as a module: none is left out.
//!
//! What tests import is not looked at. A path that only a macro writes is seen as well.

mod graph;
mod paths;

use std::{
    fs,
    path::{Path, PathBuf},
};

use graph::{Import, Level};
use paths::Crate;

/// What is in a folder, in order.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn workspace() -> Vec<PathBuf> {
    listed(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"))
}

/// The roots of the crates of this workspace, libraries and programs.
fn roots() -> Vec<PathBuf> {
    let roots: Vec<PathBuf> = workspace()
        .into_iter()
        .flat_map(|folder| {
            let source = folder.join("src");
            ["lib.rs", "main.rs"].map(|name| source.join(name))
        })
        .filter(|root| root.is_file())
        .collect();
    assert!(roots.len() >= 6, "only {roots:?}");
    roots
}

fn crates() -> impl Iterator<Item = (PathBuf, Crate)> {
    roots().into_iter().map(|root| {
        let read = Crate::read(&root);
        (root, read)
    })
}

#[test]
fn every_module_stands_in_the_list_of_its_root() {
    for (root, read) in crates() {
        let (listed, declared) = (read.listed(), read.modules());
        if declared.len() < 2 {
            continue;
        }
        let missing: Vec<_> = declared.iter().filter(|name| !listed.contains(name)).collect();
        assert!(
            missing.is_empty(),
            "{}: no `- [`name`]: ...` tells of {missing:?}",
            root.display()
        );
        let gone: Vec<_> = listed.iter().filter(|name| !declared.contains(name)).collect();
        assert!(gone.is_empty(), "{}: there is no module {gone:?}", root.display());
    }
}

#[test]
fn a_module_imports_only_those_before_it_in_the_list() {
    let mut wrong = Vec::new();
    for (_, read) in crates() {
        let listed = read.listed();
        let place = |name: &String| listed.iter().position(|other| other == name);
        let imports = read.levels().remove(&Vec::new()).unwrap_or_default().imports;
        let upward = imports.into_iter().filter(|import| place(&import.to) > place(&import.from));
        wrong.extend(upward.map(|Import { from, to, file, path }| {
            let (file, path) = (file.display().to_string(), path.join("::"));
            format!("[`{from}`] stands before [`{to}`] and imports it: {file} has {path}")
        }));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_modules_of_a_folder_import_each_other_in_a_circle() {
    for (root, read) in crates() {
        for (folder, level) in read.levels() {
            let circle = level.circle();
            assert!(
                circle.is_empty(),
                "{}: modules of `{}` import each other: {circle:#?}",
                root.display(),
                folder.join("::"),
            );
        }
    }
}

#[test]
fn every_file_of_a_program_of_tests_is_a_module() {
    let folders = workspace().into_iter().flat_map(|folder| listed(&folder.join("tests")));
    let programs: Vec<_> = folders.filter(|folder| folder.join("main.rs").is_file()).collect();
    assert!(programs.len() >= 3, "only {programs:?}");
    for folder in programs {
        let modules = Crate::read(&folder.join("main.rs")).modules();
        for file in listed(&folder) {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let is_code = file.extension().is_some_and(|end| end == "rs");
            assert!(
                !is_code || name == "main" || modules.contains(&name),
                "{} is not run: main.rs beside it has no `mod {name};`",
                file.display()
            );
        }
    }
}

/// A crate of two folders' worth of modules that has each fault once.
#[test]
fn faults_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, text).expect("it can be written");
    };
    write(
        "lib.rs",
        "//! - [`low`]: first.\n//! - [`high`]: last.\nmod high;\nmod low;\nmod other;\n",
    );
    write("low.rs", "use crate::{other::Thing, high::{self, Name as Other}};\n");
    write("other.rs", "#[cfg(test)]\nmod tests { use crate::high::Name; }\n");
    write("high.rs", "mod left;\nmod right;\npub use right::Right;\npub struct Name;\n");
    write("high/left.rs", "pub fn left() { println!(\"{:?}\", super::Right); }\n");
    write("high/right.rs", "use super::left::left;\npub struct Right;\n");
    let read = Crate::read(&folder.path().join("lib.rs"));
    assert_eq!(read.listed(), ["low", "high"]);
    assert_eq!(read.modules(), ["high", "low", "other"]);
    let levels = read.levels();
    let edges = |level: &Level| -> Vec<_> {
        level.imports.iter().map(|import| format!("{} {}", import.from, import.to)).collect()
    };
    let top = &levels[&Vec::new()];
    assert_eq!(edges(top), ["low other", "low high", "low high"]);
    assert!(top.circle().is_empty(), "{top:?}");
    let inner = &levels[&vec!["high".to_owned()]];
    assert_eq!(edges(inner), ["left right", "right left"]);
    assert_eq!(inner.circle().len(), 2, "a re-export leads to its module: {inner:?}");
}
