//! What clients ask to find out what is served.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The document of a path, if it is one of discovery.
pub fn document(path: &[&str], version: (u32, u32)) -> Option<Value> {
    match path {
        ["version"] => Some(self::version(version)),
        ["api"] => Some(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().filter_map(group).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => group(name),
        ["api", "v1"] => resources(""),
        ["apis", name, "v1"] => resources(name),
        ["openapi", "v3"] => {
            let paths = groups().into_iter().chain([""]).map(|name| {
                let path = path_of(name);
                let url = format!("/openapi/v3/{path}?hash=0");
                (path, json!({"serverRelativeURL": url}))
            });
            Some(json!({"paths": paths.collect::<serde_json::Map<_, _>>()}))
        }
        ["openapi", "v3", "api", "v1"] => schema(""),
        ["openapi", "v3", "apis", name, "v1"] => schema(name),
        _ => None,
    }
}

fn version((major, minor): (u32, u32)) -> Value {
    json!({
        "major": major.to_string(),
        "minor": minor.to_string(),
        "gitVersion": format!("v{major}.{minor}.0"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    })
}

fn groups() -> BTreeSet<&'static str> {
    KINDS.iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect()
}

fn of_group(name: &str) -> Option<Vec<&'static Kind>> {
    let kinds: Vec<_> = KINDS.iter().filter(|kind| kind.group == name).collect();
    (!kinds.is_empty()).then_some(kinds)
}

fn group(name: &str) -> Option<Value> {
    of_group(name).filter(|_| !name.is_empty())?;
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    Some(json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": [version],
        "preferredVersion": version,
    }))
}

fn resources(group: &str) -> Option<Value> {
    let kinds = of_group(group)?;
    let resource = |kind: &&Kind| {
        json!({
            "name": kind.plural,
            "singularName": kind.kind.to_lowercase(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": VERBS,
            "shortNames": kind.short,
        })
    };
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version(),
        "resources": kinds.iter().map(resource).collect::<Vec<_>>(),
    }))
}

fn path_of(group: &str) -> String {
    if group.is_empty() { "api/v1".to_owned() } else { format!("apis/{group}/v1") }
}

/// As much of the schema as kubectl reads before it sends anything: that the server validates.
fn schema(group: &str) -> Option<Value> {
    let operations = of_group(group)?.into_iter().map(|kind| {
        let scope = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("/{}/{scope}{}/{{name}}", path_of(group), kind.plural);
        let patch = json!({
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {
                "group": group, "version": kind.version, "kind": kind.kind,
            },
            "parameters": [
                {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}},
                {"name": "dryRun", "in": "query", "schema": {"type": "string"}},
            ],
        });
        (path, json!({"patch": patch}))
    });
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": operations.collect::<serde_json::Map<_, _>>(),
    }))
}
