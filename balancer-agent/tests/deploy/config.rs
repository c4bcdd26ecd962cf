//! The settings that are deployed, by the agent's own reader.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use balancer_agent::config::{RunConfig, Settings, Surroundings};
use serde_json::Value;

use crate::{
    deploy,
    objects::the,
    render::{kept, names},
};

fn read(text: &str) -> Settings {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agent.yaml");
    fs::write(&path, text).expect("written");
    Settings::read(&path).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// A file with its commented settings in force: lines such as `#maxSlots: 524288`.
pub fn uncommented(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a file");
    let line = |line: &str| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => {
                format!("{indent}{setting}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("a map").keys().map(String::as_str).collect()
}

/// What the agent makes of settings, on a node whose own say is left out.
fn resolved(settings: Settings) -> RunConfig {
    let around = Surroundings { node_name: "worker-1".into(), cgroup: Some("/cgroup".into()) };
    let settings = Settings {
        manifests: None,
        kubeconfig: None,
        node_name: None,
        cgroup: None,
        log_format: None,
        // What they would be is of the cluster.
        peers: None,
        peer_bind_address: None,
        peer_key: None,
        ..settings
    };
    settings.resolve(around).expect("usable settings")
}

#[test]
fn every_setting_is_explained_with_its_true_default() {
    let all = serde_json::to_value(Settings::default()).expect("JSON");
    let path = deploy().join("base/agent.yaml");
    let text = uncommented(&path);
    let value: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(keys(&value), keys(&all), "{}", path.display());
    // No one value says what holds without it: 50 ms where a request and its answer are all there is.
    let mut defaults = resolved(Settings::default());
    defaults.moving.quiet_time = Some(Duration::from_millis(50));
    assert_eq!(resolved(read(&text)), defaults);
    read(&fs::read_to_string(&path).expect("a file"));

    let path = deploy().join("helm/balancer/values.yaml");
    let value: Value = serde_saphyr::from_str(&uncommented(&path)).expect("YAML");
    assert_eq!(keys(&value["config"]), keys(&all), "{}", path.display());
    assert_eq!(resolved(read(&value["config"].to_string())), defaults);
}

#[test]
fn every_config_map_is_one_that_the_agent_reads() {
    let mut seen = 0;
    for name in names().filter(|name| *name != "uninstall") {
        let objects = kept(name);
        let text = the(&objects, "ConfigMap")["data"]["agent.yaml"].as_str().expect("text");
        let around = Surroundings { node_name: "worker-1".into(), cgroup: Some("/cgroup".into()) };
        read(text).resolve(around).unwrap_or_else(|error| panic!("{name}: {error}"));
        seen += 1;
    }
    assert_eq!(seen, 9);
}
