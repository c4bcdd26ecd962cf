//! The overlays by themselves: needs no kustomize.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::{deploy, objects::strict};

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn texts<'a>(list: &'a Value, field: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let entries = list.as_array().into_iter().flatten();
    entries.filter_map(move |entry| field.map_or(entry, |field| &entry[field]).as_str())
}

/// The objects of a folder and those it builds on, before patches.
fn resources(folder: &Path) -> Vec<Value> {
    let found = yaml(&folder.join("kustomization.yaml"));
    let of = |resource: &str| {
        let path = folder.join(resource);
        if path.is_dir() { resources(&path) } else { strict(resource, &read(&path)) }
    };
    texts(&found["resources"], None).flat_map(of).collect()
}

#[test]
fn every_file_is_used_and_every_patch_meets_its_object() {
    let mut patches = 0;
    for folder in ["base", "beside-kube-proxy", "instead-of-kube-proxy", "uninstall"] {
        let folder = deploy().join(folder);
        let found = yaml(&folder.join("kustomization.yaml"));
        let objects = resources(&folder);
        assert!(!objects.is_empty(), "{}", folder.display());

        let components = texts(&found["components"], None).map(|part| folder.join(part));
        let images: Vec<_> =
            components.map(|part| yaml(&part.join("kustomization.yaml"))).collect();
        let is_own = folder.ends_with("base") || folder.ends_with("uninstall");
        assert_eq!(images.len(), usize::from(is_own), "{}", folder.display());
        // The name that the component replaces is the one that the DaemonSet has.
        for image in images.iter().map(|component| &component["images"][0]["name"]) {
            let set = objects.iter().find(|object| object["kind"] == "DaemonSet");
            let pod = &set.expect("a DaemonSet")["spec"]["template"]["spec"];
            assert_eq!(&pod["containers"][0]["image"], image);
        }

        let generators = found["configMapGenerator"].as_array().into_iter().flatten();
        let used: BTreeSet<_> = texts(&found["resources"], None)
            .chain(texts(&found["patches"], Some("path")))
            .chain(generators.flat_map(|generator| texts(&generator["files"], None)))
            .chain(["kustomization.yaml"])
            .map(|name| folder.join(name).canonicalize().unwrap_or_else(|e| panic!("{name}: {e}")))
            .collect();
        for file in fs::read_dir(&folder).expect("a folder") {
            let path = file.expect("a file").path().canonicalize().expect("a file");
            assert!(used.contains(&path), "{} is used by nothing", path.display());
        }

        for patch in found["patches"].as_array().into_iter().flatten() {
            let content = yaml(&folder.join(patch["path"].as_str().expect("a file")));
            let (kind, name) = match &patch["target"] {
                Value::Null => (&content["kind"], &content["metadata"]["name"]),
                target => (&target["kind"], &target["name"]),
            };
            let is_target = |o: &&Value| (&o["kind"], &o["metadata"]["name"]) == (kind, name);
            let target = objects.iter().find(is_target);
            let target = target.unwrap_or_else(|| panic!("{kind} {name} is not there: {patch}"));
            for operation in content.as_array().into_iter().flatten() {
                let path = operation["path"].as_str().expect("a path");
                let parent = path.rsplit_once('/').expect("an absolute path").0;
                assert!(target.pointer(parent).is_some(), "{path} leads nowhere in {kind} {name}");
            }
            patches += 1;
        }
    }
    assert_eq!(patches, 3, "the overlays have other patches than this test has seen");
}
