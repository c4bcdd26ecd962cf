//! `values.schema.json`, by which Helm refuses values that the chart or the agent would not take.

use std::{collections::BTreeSet, fs};

use balancer_agent::config::Settings;
use serde_json::{Value, json};

use crate::{config::uncommented, deploy};

fn schema() -> Value {
    let path = deploy().join("helm/balancer/values.schema.json");
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// The values of the chart, with the commented settings in force.
fn values() -> Value {
    let path = deploy().join("helm/balancer/values.yaml");
    serde_saphyr::from_str(&uncommented(&path)).expect("YAML")
}

fn names(object: &Value) -> BTreeSet<&String> {
    object.as_object().expect("a map").keys().collect()
}

#[test]
fn the_schema_knows_every_value_and_every_setting() {
    let (schema, values) = (schema(), values());
    let properties = &schema["properties"];
    let mut own = names(properties);
    // Helm itself puts it there.
    assert!(own.remove(&"global".to_owned()));
    assert_eq!(own, names(&values));
    let settings = serde_json::to_value(Settings::default()).expect("JSON");
    assert_eq!(names(&properties["config"]["properties"]), names(&settings));
    let moving = &properties["config"]["properties"]["moving"]["properties"];
    assert_eq!(names(moving), names(&values["config"]["moving"]));
}

#[test]
fn the_schema_takes_the_values_of_the_chart_and_refuses_slips() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let values = values();
    if let Err(error) = validator.validate(&values) {
        panic!("{}: {error}", error.instance_path());
    }
    let digest = format!("sha256:{}", "0a".repeat(32));
    for (path, value, is_taken) in [
        ("/image/digest", json!(digest), true),
        ("/image/digest", json!("latest"), false),
        ("/image/repository", json!("balancer@sha256:0"), false),
        ("/config/socket", json!("/run/balancer/other.sock"), true),
        // The pod has no other folder that outlives it.
        ("/config/socket", json!("/tmp/agent.sock"), false),
        ("/config/bpffs", json!("/var/bpf"), false),
        ("/config/healthzBindAddress", json!("[::1]:10356"), true),
        ("/config/healthzBindAddress", json!("10356"), false),
        ("/config/maxServices", json!("many"), false),
        ("/config/moving/quietTime", json!("1m30s"), true),
        ("/config/moving/quietTime", json!("soon"), false),
        ("/config/moving/rebalance", json!("true"), false),
        ("/peers/key", json!("0123456789abcdef0123456789abcdef"), true),
        ("/peers/key", json!("hunter2"), false),
        ("/updateStrategy/rollingUpdate/maxUnavailable", json!(3), true),
        ("/updateStrategy/rollingUpdate/maxUnavailable", json!("some"), false),
        ("/updateStrategy/type", json!("Recreate"), false),
        ("/nameOverride", json!("spread"), true),
        ("/nameOverride", json!("Spread"), false),
        ("/hostPaths/run", json!("run"), false),
        ("/extraEnv", json!([{"name": "A", "value": "b"}]), true),
        ("/extraEnv", json!({"A": "b"}), false),
        ("/cleanup/enabled", json!("yes"), false),
    ] {
        let mut changed = values.clone();
        *changed.pointer_mut(path).unwrap_or_else(|| panic!("{path} is no value")) = value.clone();
        assert_eq!(validator.is_valid(&changed), is_taken, "{path}: {value}");
    }
    for path in [
        "",
        "/config",
        "/config/moving",
        "/image",
        "/apiServer",
        "/peers",
        "/serviceAccount",
        "/rbac",
        "/updateStrategy",
        "/hostPaths",
        "/cleanup",
    ] {
        let mut changed = values.clone();
        changed.pointer_mut(path).expect("a map")["misspelt"] = json!(1);
        assert!(!validator.is_valid(&changed), "an unknown key in {path:?}");
    }
}
