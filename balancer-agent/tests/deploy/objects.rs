//! Objects by the types of the API, strictly.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The objects of a file, each of which is what the API takes: a field of another type or another
/// name fails the test.
pub fn strict(name: &str, text: &str) -> Vec<Value> {
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    for object in &objects {
        let named = format!("{name}: {} {}", object["kind"], object["metadata"]["name"]);
        match (object["apiVersion"].as_str(), object["kind"].as_str()) {
            (Some("v1"), Some("ServiceAccount")) => check::<ServiceAccount>(&named, object),
            (Some("v1"), Some("ConfigMap")) => check::<ConfigMap>(&named, object),
            (Some("v1"), Some("Service")) => check::<Service>(&named, object),
            (Some("v1"), Some("Secret")) => check::<Secret>(&named, object),
            (Some("v1"), Some("Pod")) => check::<Pod>(&named, object),
            (Some("batch/v1"), Some("Job")) => check::<Job>(&named, object),
            (Some("rbac.authorization.k8s.io/v1"), Some("Role")) => check::<Role>(&named, object),
            (Some("rbac.authorization.k8s.io/v1"), Some("RoleBinding")) => {
                check::<RoleBinding>(&named, object);
            }
            (Some("apps/v1"), Some("DaemonSet")) => check::<DaemonSet>(&named, object),
            (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRole")) => {
                check::<ClusterRole>(&named, object);
            }
            (Some("rbac.authorization.k8s.io/v1"), Some("ClusterRoleBinding")) => {
                check::<ClusterRoleBinding>(&named, object);
            }
            // The Prometheus Operator's: no type here.
            (Some("monitoring.coreos.com/v1"), Some("PodMonitor" | "PrometheusRule")) => {}
            other => panic!("{named}: {other:?} is no kind that this test knows"),
        }
    }
    objects
}

/// The only object of a kind that is installed; dashboards are not counted.
pub fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    only(objects, kind, None)
}

/// The only object of a kind that Helm makes at some point in the life of a release.
pub fn hook<'a>(objects: &'a [Value], kind: &str, point: &str) -> &'a Value {
    only(objects, kind, Some(point))
}

fn only<'a>(objects: &'a [Value], kind: &str, point: Option<&str>) -> &'a Value {
    let is_it = |object: &&Value| {
        let hook = object["metadata"]["annotations"]["helm.sh/hook"].as_str();
        let is_dashboard = object["metadata"]["labels"]["grafana_dashboard"].is_string();
        object["kind"] == kind && hook == point && !is_dashboard
    };
    let found: Vec<_> = objects.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{kind} of {point:?} in {objects:#?}");
    found[0]
}

/// A field that the type does not know is lost on the way through it.
fn check<T: DeserializeOwned + Serialize>(named: &str, object: &Value) {
    let typed: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{named}: not of its type: {error}"));
    let back = serde_json::to_value(typed).expect("JSON");
    if let Some(path) = lost(object, &back) {
        panic!("{named}: the API has no field {path}");
    }
}

fn lost(before: &Value, after: &Value) -> Option<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().find_map(|(field, value)| match after.get(field) {
                None => Some(field.clone()),
                Some(kept) => lost(value, kept).map(|path| format!("{field}.{path}")),
            })
        }
        (Value::Array(before), Value::Array(after)) => {
            let pairs = before.iter().zip(after).enumerate();
            pairs.into_iter().find_map(|(index, (before, after))| {
                lost(before, after).map(|path| format!("[{index}].{path}"))
            })
        }
        _ => None,
    }
}

#[test]
#[should_panic(expected = "the API has no field spec.template.spec.containers.[0].imagePolicy")]
fn a_field_of_another_name_is_seen() {
    let text = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\nspec:\n  selector: {}\n  \
                template:\n    spec:\n      containers: [{name: a, imagePolicy: Never}]\n";
    strict("test", text);
}
