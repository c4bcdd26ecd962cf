//! The plugin of kubectl, with kubectl itself and the double of the API server. The double runs nothing in
//! pods: `kubectl exec` is a script here, which runs the verb of the node where that pod would be.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::common::VIP;
use balancer_lab::{
    Agent, Cluster, Node,
    apiserver::{ApiServer, Options},
    manifests::{Endpoint, Manifests, Service},
};
use serde_json::{Value, json};

/// Two nodes with an agent each, and one whose agent has not begun.
struct Stage {
    // Dropped in this order.
    agents: Vec<Agent>,
    server: ApiServer,
    cluster: Cluster,
}

impl Stage {
    fn start(name: &str) -> Self {
        let cluster = Cluster::create(name, 2).expect("nodes; the tests need root and iproute2");
        let manifests = Manifests::create(cluster.state_dir().join("manifests")).expect("a folder");
        let node = &cluster.nodes()[0];
        let endpoint = Endpoint::ready(node.pod_ip(1)).on(node.name());
        let service = Service {
            endpoints: vec![endpoint],
            ..Service::new("web", VIP, 80, 8080, [] as [std::net::IpAddr; 0])
        };
        manifests.write_cluster(&cluster).expect("written");
        manifests.write(&service).expect("written");
        let agents = Agent::start_all(cluster.nodes(), manifests.dir(), &[]).expect("agents");
        let server = ApiServer::start(cluster.state_dir(), Options::default()).expect("a server");
        let stage = Self { agents, server, cluster };
        for (node, agent) in stage.cluster.nodes().iter().zip(&stage.agents) {
            let pod = format!("balancer-agent-{}", node.name());
            stage.put(&pod, "balancer-agent", node.name(), "Running");
            let flags = agent.where_flags().join(" ");
            let verb = format!("exec {} \"$@\" {flags}\n", agent.binary().display());
            fs::write(stage.folder().join(pod), verb).expect("written");
        }
        stage.put("web-1", "web", stage.cluster.nodes()[0].name(), "Running");
        stage.write_kubectl();
        stage
    }

    fn put(&self, pod: &str, app: &str, node: &str, phase: &str) {
        let labels = json!({"app.kubernetes.io/name": app});
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "namespace": "kube-system", "labels": labels},
            "spec": {"nodeName": node},
            "status": {"phase": phase},
        });
        self.server.put(&pod).expect("a pod");
    }

    /// What comes first in `$PATH`.
    fn folder(&self) -> PathBuf {
        let folder = self.cluster.state_dir().join("bin");
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn write_kubectl(&self) {
        let path = std::env::var_os("PATH").expect("a path");
        let mut folders = std::env::split_paths(&path).map(|folder| folder.join("kubectl"));
        let kubectl = folders.find(|program| program.is_file());
        let kubectl = kubectl.expect("kubectl, which Debian has in the package kubernetes-client");
        let folder = self.folder();
        let script = format!(
            "#!/bin/sh\n\
             for word in \"$@\"; do\n\
             [ \"$word\" = exec ] || continue\n\
             while [ \"$1\" != /balancer-agent ]; do case $1 in balancer-agent-*) pod=$1 ;; esac; shift; done\n\
             shift\n\
             . {folder}/$pod\n\
             done\n\
             exec {kubectl} \"$@\"\n",
            folder = folder.display(),
            kubectl = kubectl.display(),
        );
        let path = folder.join("kubectl");
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let plugin =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubectl/kubectl-balancer");
        let path = std::env::var("PATH").expect("a path");
        let mut command = Command::new(plugin);
        command
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.folder().display()))
            .env("KUBECONFIG", self.server.kubeconfig())
            // kubectl's cache of what a server offers.
            .env("HOME", self.cluster.state_dir());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("a shell")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn kubectl_asks_the_agents_of_all_nodes() {
    let stage = Stage::start("plugin");
    let names: Vec<&str> = stage.cluster.nodes().iter().map(Node::name).collect();

    let table = stage.ask(&["services"]);
    assert!(table.status.success(), "{table:?}");
    let table = text(&table.stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "one head, and a Service on each node:\n{table}");
    let column = |line: &str, at: usize| line.split_whitespace().nth(at).map(str::to_owned);
    assert_eq!(lines[0].find("NAMESPACE"), lines[1].find("default"), "columns:\n{table}");
    for (line, name) in lines[1..].iter().zip(&names) {
        assert_eq!(column(line, 0).as_deref(), Some(*name), "{table}");
        assert_eq!(column(line, 2).as_deref(), Some("web"), "{table}");
    }

    let said = stage.ask(&["services", "-o", "json"]);
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    for name in &names {
        assert_eq!(said[name][0]["name"], "web", "{said}");
    }

    let one = stage.ask(&["--node", names[1], "services", "-o", "json"]);
    let one: Value = serde_json::from_slice(&one.stdout).expect("what the agent prints");
    assert_eq!(one[0]["name"], "web", "{one}");
}

#[test]
fn kubectl_tells_what_a_node_can_not_answer() {
    let stage = Stage::start("plugin-faults");
    let name = stage.cluster.nodes()[0].name();

    let unknown = stage.ask(&["--node", "elsewhere", "status"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(text(&unknown.stderr).contains("node elsewhere has no agent"), "{unknown:?}");

    let refused = stage.ask(&["backends", "default/nothing"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains(&format!("{name}: ")), "{refused:?}");

    stage.put("balancer-agent-late", "balancer-agent", "late", "Pending");
    let late = stage.ask(&["services"]);
    assert_eq!(late.status.code(), Some(3));
    let pod = "node late: the agent's pod kube-system/balancer-agent-late is Pending";
    assert!(text(&late.stderr).contains(pod), "{late:?}");
    assert_eq!(text(&late.stdout).lines().count(), 3, "those that run have answered: {late:?}");

    let none = stage.ask(&["-l", "app=none", "status"]);
    assert_eq!(none.status.code(), Some(3));
    assert!(text(&none.stderr).contains("--selector"), "{none:?}");

    let usage = stage.ask(&["--elsewhere", "status"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}
