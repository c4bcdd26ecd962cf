//! The plugin of kubectl, with kubectl itself and the double of the API server. The double runs nothing in
//! pods: `kubectl exec` is a script here, which runs the verb of the node where that pod would be.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::common::VIP;
use balancer_lab::{
    Agent, Cluster, Node,
    apiserver::{ApiServer, Options},
    manifests::{Endpoint, Manifests, Service},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
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
            stage.answer(&pod, agent);
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

    /// Has the verbs that a pod is asked for run where an agent is.
    fn answer(&self, pod: &str, agent: &Agent) {
        let flags = agent.where_flags().join(" ");
        let verb = format!("exec {} \"$@\" {flags}\n", agent.binary().display());
        fs::write(self.folder().join(pod), verb).expect("written");
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

    /// The plugin, run by a shell.
    fn command(&self, shell: &str, arguments: &[&str]) -> Command {
        let plugin =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubectl/kubectl-balancer");
        let path = std::env::var("PATH").expect("a path");
        let mut command = Command::new(shell);
        command
            .arg(plugin)
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.folder().display()))
            .env("KUBECONFIG", self.server.kubeconfig())
            // kubectl's cache of what a server offers.
            .env("HOME", self.cluster.state_dir());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.command("sh", arguments).output().expect("a shell")
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

    // The form is the same where the cluster has one node.
    stage.put("balancer-agent-alone", "alone", names[1], "Running");
    stage.answer("balancer-agent-alone", &stage.agents[1]);
    let labels = ["-l", "app.kubernetes.io/name=alone"];
    let alone = stage.ask(&[&labels[..], &["services", "-o", "json"]].concat());
    let alone: Value = serde_json::from_slice(&alone.stdout).expect("JSON");
    assert_eq!(alone[names[1]][0]["name"], "web", "{alone}");
    let help = stage.ask(&[&labels[..], &["services", "-o", "json", "--help"]].concat());
    assert!(text(&help.stdout).contains("Usage:"), "{help:?}");
}

/// As Ctrl-C does: the shell, and all that it has started, are told at once.
#[test]
fn kubectl_leaves_nothing_when_it_is_interrupted() {
    let stage = Stage::start("plugin-follow");
    let temporary = stage.cluster.state_dir().join("tmp");
    fs::create_dir_all(&temporary).expect("a folder");
    for shell in ["sh", "bash"] {
        let mut command = stage.command(shell, &["services", "--watch"]);
        command.env("TMPDIR", &temporary).process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let group = Pid::from_raw(child.id().cast_signed());
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("what a node says");
        assert!(line.contains("NAMESPACE"), "{shell}: {line}");
        assert_eq!(fs::read_dir(&temporary).expect("a folder").count(), 1, "{shell}");
        killpg(group, Signal::SIGINT).expect("sent");
        // The pipe is open for as long as any process of the group is there.
        let rest = said.lines().count();
        let ended = child.wait().expect("ended");
        assert_eq!(ended.code(), Some(130), "{shell}, after {rest} lines: {ended}");
        assert_eq!(fs::read_dir(&temporary).expect("a folder").count(), 0, "{shell}");
    }
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

    // The same of what is printed as it comes.
    let ended = stage.ask(&["backends", "default/nothing", "--watch"]);
    assert_eq!(ended.status.code(), Some(3), "the largest: {ended:?}");
    let ended = stage.ask(&["--node", name, "--node", name, "backends", "x/nothing", "--watch"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");

    let usage = stage.ask(&["--elsewhere", "status"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}
