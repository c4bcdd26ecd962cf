//! The double of the API server, asked by kubectl as Kubernetes ships it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use balancer_lab::apiserver::{ApiServer, Options};
use serde_json::{Value, json};

/// Old versions of kubectl, such as Debian's, can't apply without OpenAPI v2 unless told not to look.
const APPLY: [&str; 4] = ["apply", "--validate=false", "-f", "-"];

fn kubectl(server: &ApiServer, home: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .args(arguments)
        // Its cache of what a server offers.
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl, which Debian has in the package kubernetes-client");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn documents(port: u16, addresses: &[&str]) -> String {
    let endpoints: Vec<Value> = addresses.iter().map(|ip| json!({"addresses": [ip]})).collect();
    let labels = json!({"kubernetes.io/service-name": "web"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"ports": [{"name": "http", "port": port}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": endpoints,
    });
    [namespace, service, slice].map(|object| object.to_string()).join("\n")
}

#[test]
fn objects_are_applied_shown_changed_and_deleted() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = ApiServer::start(dir.path(), Options::default()).expect("a server");
    let run = |arguments: &[&str], input: &str| kubectl(&server, dir.path(), arguments, input);
    let held = |kind: &str, version: &str, name: &str| server.get(version, kind, "shop", name);
    let ports = || held("Service", "v1", "web").map(|service| service["spec"]["ports"].clone());
    let port = |number: u16| {
        let port = json!({"name": "http", "port": number, "protocol": "TCP", "targetPort": number});
        Some(json!([port]))
    };

    let said = run(&APPLY, &documents(80, &["10.244.0.1"]));
    assert!(said.contains("service/web created"), "{said}");
    assert_eq!(ports(), port(80));
    let shown = run(&["get", "services,endpointslices", "-n", "shop", "-o", "name"], "");
    assert_eq!(shown, "service/web\nendpointslice.discovery.k8s.io/web-1\n");

    let said = run(&APPLY, &documents(80, &["10.244.0.1"]));
    assert!(said.contains("service/web unchanged"), "{said}");
    run(&APPLY, &documents(81, &["10.244.0.1", "10.244.0.2"]));
    assert_eq!(ports().map(|ports| ports[0]["port"].clone()), Some(json!(81)));
    let slice = held("EndpointSlice", "discovery.k8s.io/v1", "web-1").expect("a slice");
    assert_eq!(slice["endpoints"].as_array().map(Vec::len), Some(2));

    run(&["label", "service", "web", "-n", "shop", "tier=front"], "");
    run(
        &[&APPLY[..], &["--server-side", "--force-conflicts"]].concat(),
        &documents(82, &["10.244.0.3"]),
    );
    let service = held("Service", "v1", "web").expect("a Service");
    assert_eq!(service["metadata"]["labels"]["tier"], "front");

    run(&["delete", "service", "web", "-n", "shop"], "");
    assert_eq!(held("Service", "v1", "web"), None);
    run(&["delete", "namespace", "shop"], "");
    assert_eq!(held("EndpointSlice", "discovery.k8s.io/v1", "web-1"), None);
}
