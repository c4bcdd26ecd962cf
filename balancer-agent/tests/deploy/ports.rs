//! The component that gives the agents the ports of kube-proxy.

use serde_json::{Value, json};

use crate::{deploy, kustomize::yaml};

/// The only value of a patch at a path.
fn at<'a>(patch: &'a Value, path: &str) -> Vec<&'a Value> {
    let steps = patch.as_array().expect("steps").iter().filter(|step| step["path"] == path);
    steps.map(|step| &step["value"]).collect()
}

#[test]
fn kube_proxys_ports_are_those_that_are_asked() {
    let patch = yaml(&deploy().join("kube-proxy-ports/ports.yaml"));
    let container = "/spec/template/spec/containers/0";
    let flags = at(&patch, &format!("{container}/args/-"));
    // metricsBindAddress and healthzBindAddress of kube-proxy, unless configured otherwise.
    assert_eq!(
        flags,
        ["--metrics-bind-address=127.0.0.1:10249", "--healthz-bind-address=0.0.0.0:10256"]
    );
    let base = yaml(&deploy().join("base/daemonset.yaml"));
    let before = &base["spec"]["template"]["spec"]["containers"][0];
    let ports = at(&patch, &format!("{container}/ports/0"));
    let [port] = ports[..] else { panic!("{ports:?}") };
    assert_eq!(port["containerPort"], 10256);
    assert_eq!((&port["name"], &port["protocol"]), (&before["ports"][0]["name"], &json!("TCP")));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(before[probe]["httpGet"]["port"], port["name"], "{probe}");
    }
    let labels = at(&patch, "/spec/template/metadata/labels/k8s-app");
    assert_eq!(labels, ["kube-proxy"]);
}
