//! The parts of an installation among themselves, and with the agent.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};

use balancer_agent::peers::{membership::PORT, socket};
use serde_json::{Value, json};

use crate::{
    objects::{hook, the},
    render::{EXISTING_ACCOUNT, kept, names},
};

fn pod(objects: &[Value]) -> &Value {
    &the(objects, "DaemonSet")["spec"]["template"]["spec"]
}

fn installations() -> impl Iterator<Item = (&'static str, Vec<Value>)> {
    let whole = |name: &&str| !["uninstall", EXISTING_ACCOUNT].contains(name);
    names().filter(whole).map(|name| (name, kept(name)))
}

/// All pods of an installation, those of hooks too.
fn pods(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter_map(|object| match object["kind"].as_str() {
        Some("Pod") => Some(&object["spec"]),
        Some("DaemonSet" | "Job") => Some(&object["spec"]["template"]["spec"]),
        _ => None,
    })
}

fn containers(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let lists = pods(objects).flat_map(|pod| [&pod["initContainers"], &pod["containers"]]);
    lists.flat_map(|list| list.as_array().into_iter().flatten())
}

#[test]
fn names_lead_to_what_is_there() {
    for (name, objects) in installations() {
        let meta = |kind: &str, field: &str| the(&objects, kind)["metadata"][field].clone();
        let pod = pod(&objects);
        assert_eq!(pod["volumes"][0]["configMap"]["name"], meta("ConfigMap", "name"), "{name}");
        assert_eq!(pod["serviceAccountName"], meta("ServiceAccount", "name"), "{name}");
        let binding = the(&objects, "ClusterRoleBinding");
        assert_eq!(binding["roleRef"]["name"], meta("ClusterRole", "name"), "{name}");
        assert_eq!(binding["subjects"][0]["name"], meta("ServiceAccount", "name"), "{name}");
        assert_eq!(binding["subjects"][0]["namespace"], meta("ServiceAccount", "namespace"));
        let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("mounts");
        let volumes = pod["volumes"].as_array().expect("volumes");
        let of = |list: &[Value]| list.iter().map(|v| v["name"].clone()).collect::<Vec<_>>();
        assert_eq!(of(mounts), of(volumes), "{name}");
        let selector = &the(&objects, "DaemonSet")["spec"]["selector"]["matchLabels"];
        let labels = &the(&objects, "DaemonSet")["spec"]["template"]["metadata"]["labels"];
        for (key, value) in selector.as_object().expect("labels") {
            assert_eq!(&labels[key], value, "{name}");
        }
    }
}

#[test]
fn the_agent_may_do_what_it_does_and_nothing_else() {
    let want = json!([
        {"apiGroups": [""], "resources": ["services", "nodes", "pods", "namespaces"],
         "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
         "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]);
    for (name, objects) in installations() {
        assert_eq!(the(&objects, "ClusterRole")["rules"], want, "{name}");
    }
}

/// The chart and the base are two texts of one thing.
#[test]
fn the_chart_installs_what_kustomize_installs() {
    for form in ["beside-kube-proxy", "instead-of-kube-proxy"] {
        let (kustomize, helm) = (kept(form), kept(&format!("helm-{form}")));
        let mut pods = [pod(&kustomize).clone(), pod(&helm).clone()];
        for pod in &mut pods {
            // What differs: the name of the ConfigMap, and the address and log level of the test.
            pod["volumes"][0] = Value::Null;
            pod["containers"][0]["env"] = Value::Null;
        }
        assert_eq!(pods[0], pods[1], "{form}");
    }
}

#[test]
fn without_kube_proxy_the_api_server_is_given_and_load_balancers_are_answered() {
    for (name, objects) in installations() {
        let container = &pod(&objects)["containers"][0];
        let instead = name.ends_with("instead-of-kube-proxy");
        let env = container["env"].as_array().expect("variables");
        let has_address = env.iter().any(|entry| entry["name"] == "KUBERNETES_SERVICE_HOST");
        let args = container["args"].to_string();
        assert_eq!(has_address, instead, "{name}: {env:?}");
        for flag in ["--healthcheck-nodeports=true", "--outside-traffic=true"] {
            assert_eq!(args.contains(flag), instead, "{name}: {args}");
        }
    }
}

/// The agents find each other by a Service that has their pods, and the port that they listen at.
#[test]
fn the_agents_find_each_other() {
    for (name, objects) in installations() {
        let (args, is_on) = {
            let args = pod(&objects)["containers"][0]["args"].to_string();
            let is_on = args.contains("--peers=");
            (args, is_on)
        };
        assert_eq!(is_on, name != "helm-own-settings", "{name}");
        if !is_on {
            assert!(!args.contains("peer"), "{name}: {args}");
            continue;
        }
        let service = the(&objects, "Service");
        let own = &service["metadata"];
        let names = format!("{}/{}", own["namespace"], own["name"]).replace('"', "");
        assert!(args.contains(&format!("--peers={names}")), "{name}: {args}");
        assert_eq!(service["spec"]["clusterIP"], "None", "{name}");
        let port = &service["spec"]["ports"][0];
        assert_eq!((&port["name"], &port["protocol"]), (&json!(PORT), &json!("UDP")), "{name}");
        // Others send to the port of the Service.
        let settings = the(&objects, "ConfigMap")["data"]["agent.yaml"].as_str().expect("text");
        let settings: Value = serde_saphyr::from_str(settings).expect("YAML");
        let address = settings["peerBindAddress"].as_str();
        let address = address.map(|address| address.parse::<SocketAddr>().expect("an address"));
        let listens = address.map_or(socket::PORT, |address| address.port());
        assert_eq!(listens == socket::PORT, name != "helm-own-peer-port", "{name}");
        assert_eq!(port["port"], json!(listens), "{name}");
        let ports = &pod(&objects)["containers"][0]["ports"];
        assert_eq!(ports[1], json!({"name": PORT, "containerPort": listens, "protocol": "UDP"}));
        let labels = &the(&objects, "DaemonSet")["spec"]["template"]["metadata"]["labels"];
        for (key, value) in service["spec"]["selector"].as_object().expect("labels") {
            assert_eq!(&labels[key], value, "{name}");
        }
        let volumes = pod(&objects)["volumes"].as_array().expect("volumes");
        let secret = volumes.iter().find(|volume| volume["name"] == "peer-key");
        let secret = &secret.expect("the volume of the key")["secret"];
        assert_eq!(secret["defaultMode"], json!(0o400), "{name}: others could read the key");
        for object in objects.iter().filter(|object| object["kind"] == "Secret") {
            assert_eq!(secret["secretName"], object["metadata"]["name"], "{name}");
            assert!(object["data"]["key"].is_string(), "{name}");
        }
    }
}

/// A flag that is misspelt would end every agent of a cluster.
#[test]
fn the_agent_takes_the_arguments() {
    for name in names() {
        for container in containers(&kept(name)) {
            let args = container["args"].as_array().expect("arguments").clone();
            let mut command = Command::new(env!("CARGO_BIN_EXE_balancer-agent"));
            command.args(args.iter().map(|arg| arg.as_str().expect("text"))).arg("--help");
            let output = command.output().expect("a binary that starts");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {args:?}: {error}");
        }
    }
}

#[test]
fn the_image_is_of_this_version() {
    for name in names().filter(|name| *name != "helm-own-settings") {
        for container in containers(&kept(name)) {
            let want = json!(concat!("balancer-agent:", env!("CARGO_PKG_VERSION")));
            assert_eq!(container["image"], want, "{name}");
        }
    }
}

#[test]
fn the_image_may_be_named_by_its_digest() {
    let digest = "0123456789abcdef".repeat(4);
    for container in containers(&kept("helm-own-settings")) {
        assert_eq!(container["image"], json!(format!("example.com/balancer@sha256:{digest}")));
    }
}

/// kubelet asks where the agent listens: a probe of another port would restart every agent.
#[test]
fn the_probes_ask_where_the_agent_answers() {
    for (name, objects) in installations() {
        let settings = the(&objects, "ConfigMap")["data"]["agent.yaml"].as_str().expect("text");
        let settings: Value = serde_saphyr::from_str(settings).expect("YAML");
        let address = settings["healthzBindAddress"].as_str().unwrap_or("0.0.0.0:10356");
        let address: SocketAddr = address.parse().expect("an address");
        let container = &pod(&objects)["containers"][0];
        assert_eq!(container["ports"][0]["containerPort"], json!(address.port()), "{name}");
        for probe in ["livenessProbe", "readinessProbe"] {
            let get = &container[probe]["httpGet"];
            assert_eq!(get["port"], container["ports"][0]["name"], "{name}");
            let host: IpAddr = get["host"].as_str().expect("a host").parse().expect("an address");
            let reached = host == address.ip() || address.ip().is_unspecified();
            assert!(reached && host.is_ipv4() == address.is_ipv4(), "{name}: {host} for {address}");
        }
    }
}

/// `helm uninstall` is over when the Job is, which waits for the DaemonSet that cleans the nodes.
#[test]
fn uninstalling_cleans_the_nodes_that_have_agents() {
    const POINT: &str = "post-delete";
    for (name, objects) in installations().filter(|(name, _)| name.starts_with("helm-")) {
        let set = hook(&objects, "DaemonSet", POINT);
        let wait = hook(&objects, "Job", POINT);
        let (cleaner, waiter) =
            (&set["spec"]["template"]["spec"], &wait["spec"]["template"]["spec"]);
        let own = &set["metadata"];
        let awaited = format!("--await={}/{}", own["namespace"], own["name"]).replace('"', "");
        assert_eq!(waiter["containers"][0]["args"], json!(["cleanup", awaited]), "{name}");
        let rights = &hook(&objects, "Role", POINT)["rules"];
        let want = json!([{"apiGroups": ["apps"], "resources": ["daemonsets"],
            "resourceNames": [own["name"]], "verbs": ["watch"]}]);
        assert_eq!(*rights, want, "{name}");
        let account = &hook(&objects, "ServiceAccount", POINT)["metadata"]["name"];
        assert_eq!(&waiter["serviceAccountName"], account, "{name}");
        let binding = hook(&objects, "RoleBinding", POINT);
        assert_eq!(&binding["subjects"][0]["name"], account, "{name}");
        // Helm makes them in the order of their weights.
        let weight =
            |object: &Value| object["metadata"]["annotations"]["helm.sh/hook-weight"].clone();
        assert_eq!([weight(binding), weight(set), weight(wait)], ["0", "1", "2"], "{name}");
        let agent = pod(&objects);
        for part in ["nodeSelector", "tolerations", "affinity"] {
            assert_eq!(cleaner[part], agent[part], "{name}: {part}");
        }
        // The folders of the node are those of the agent.
        for volume in cleaner["volumes"].as_array().expect("volumes") {
            let of_agent = agent["volumes"].as_array().expect("volumes");
            assert!(of_agent.contains(volume), "{name}: {volume}");
        }
        assert_eq!(cleaner["initContainers"][0]["args"][0], "cleanup", "{name}");
        assert_eq!(cleaner["containers"][0]["args"][1], "--stay", "{name}");
    }
}

/// The rules of `--outside-traffic` are in the node's network: from a network of its own a pod would
/// not find them, and they would stay.
#[test]
fn the_nodes_are_cleaned_from_their_own_network() {
    let charts = installations().filter(|(name, _)| name.starts_with("helm-"));
    let sets =
        charts.map(|(name, objects)| (name, hook(&objects, "DaemonSet", "post-delete").clone()));
    let uninstall = the(&kept("uninstall"), "DaemonSet").clone();
    for (name, set) in sets.chain([("uninstall", uninstall)]) {
        assert_eq!(set["spec"]["template"]["spec"]["hostNetwork"], json!(true), "{name}");
    }
}

/// A pod of a hook that had the labels of the agents would be taken for one of them.
#[test]
fn pods_of_hooks_are_no_agents() {
    for (name, objects) in installations().filter(|(name, _)| name.starts_with("helm-")) {
        let selector = &the(&objects, "DaemonSet")["spec"]["selector"]["matchLabels"];
        let test = hook(&objects, "Pod", "test");
        let set = &hook(&objects, "DaemonSet", "post-delete")["spec"]["template"];
        let job = &hook(&objects, "Job", "post-delete")["spec"]["template"];
        for labels in [test, set, job].map(|pod| &pod["metadata"]["labels"]) {
            let key = "app.kubernetes.io/name";
            assert_ne!(labels[key], selector[key], "{name}: {labels}");
            assert!(labels[key].is_string(), "{name}: {labels}");
        }
        assert_eq!(test["spec"]["containers"][0]["args"][0], "status", "{name}");
    }
}

#[test]
fn account_and_rights_may_be_those_of_somebody_else() {
    let objects = kept(EXISTING_ACCOUNT);
    let kinds: Vec<_> =
        objects.iter().map(|object| object["kind"].as_str().expect("text")).collect();
    assert_eq!(kinds, ["ConfigMap", "DaemonSet", "Pod"]);
    assert_eq!(pod(&objects)["serviceAccountName"], "there");
}
