//! Client pods as kubelet makes them.

use std::process::{Child, Stdio};

use balancer_lab::Pod;
use serde_json::{Value, json};

use super::{Web, address};

/// Named as kubelet names the cgroup of a pod.
fn uid(number: u8) -> String {
    format!("5f0a7a3e-0001-4a4a-8c8c-{number:012}")
}

/// A Pod whose client is numbered so.
pub fn pod_object(number: u8, label: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("client-{number}"),
            "namespace": "default",
            "uid": uid(number),
            "labels": label.map(|value| json!({"balancer-agent/enabled": value})),
        },
        "spec": {"nodeName": "lab-node"},
        "status": {"phase": "Running", "podIP": address(number), "podIPs": [{"ip": address(number)}]},
    })
}

/// The namespace of all pods, with the label.
pub fn namespace(label: &str) -> Value {
    let labels = json!({"balancer-agent/enabled": label});
    let metadata = json!({"name": "default", "labels": labels});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
}

/// Writes objects beside the Services.
pub fn tell(web: &Web, items: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    web.manifests.write_text("pods.json", &list.to_string()).expect("written");
}

/// A pod in a cgroup as kubelet makes it, with a process as the sandbox of a pod has one.
pub struct Client {
    pub pod: Pod,
    pause: Child,
}

impl Client {
    pub fn start(web: &Web, number: u8) -> Self {
        let pod = web.lab.pod(&format!("pod{}", uid(number)), address(number)).expect("a pod");
        let mut command = pod.command("sleep");
        let pause = command.arg("120").stdin(Stdio::null()).spawn().expect("a process");
        Self { pod, pause }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.pause.kill();
        let _ = self.pause.wait();
    }
}
