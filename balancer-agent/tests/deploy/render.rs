//! What kustomize and Helm make of `deploy/`, kept in `rendered/`.
//!
//! Where the tools are there, what is kept must be what they say; `BLESS=1` keeps it. Where they are
//! not, the other tests still hold what is kept to the types of the API. Helm is `helm`, or the
//! library in the Python package `helm-python-sdk`.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{deploy, objects::strict};

/// Each with the values that are set for the chart.
const CHARTS: [(&str, &str); 7] = [
    ("helm-beside-kube-proxy", r#"{"peers":{"key":"a-key-of-the-tests-and-of-nothing-else"}}"#),
    (
        "helm-instead-of-kube-proxy",
        r#"{"insteadOfKubeProxy":true,"apiServer":{"host":"192.0.2.10"},"log":"debug",
            "peers":{"existingSecret":"balancer-agent-peers"},
            "config":{"maxServices":1000,"maxSlots":100000},"podLabels":{"a":"b"}}"#,
    ),
    (
        "helm-own-settings",
        r#"{"image":{"repository":"example.com/balancer","tag":"ignored","digest":
            "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
            "config":{"healthzBindAddress":"[::]:10999"},"peers":{"enabled":false},
            "podLabels":{"a":"b"},"podAnnotations":{"c":"d"}}"#,
    ),
    (
        "helm-own-peer-port",
        r#"{"peers":{"existingSecret":"balancer-agent-peers"},"config":{"peerBindAddress":"[::]:10457",
            "peers":"kube-system/balancer-agent-peers"}}"#,
    ),
    (
        "helm-own-names",
        r#"{"nameOverride":"spread","fullnameOverride":"spread-evenly","imagePullSecrets":[{"name":"pull"}],
            "serviceAccount":{"name":"spreader","annotations":{"a":"b"}},
            "affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{
                "nodeSelectorTerms":[{"matchExpressions":[{"key":"kind","operator":"Exists"}]}]}}},
            "updateStrategy":{"type":"OnDelete","rollingUpdate":null},"nodeSelector":{"canary":"true"},
            "tolerations":[],"extraEnv":[{"name":"A","value":"b"}],
            "extraVolumes":[{"name":"more","emptyDir":{}}],
            "extraVolumeMounts":[{"name":"more","mountPath":"/more"}],
            "hostPaths":{"bpffs":"/bpf","cgroup":"/sys/fs/cgroup/unified","run":"/var/run/spread"},
            "config":{"bpffs":"/sys/fs/bpf/spread","socket":"/run/balancer/spread.sock"},
            "peers":{"key":"a-key-of-the-tests-and-of-nothing-else"}}"#,
    ),
    (
        "helm-monitoring",
        r#"{"prometheus":{"podMonitor":{"enabled":true,"labels":{"release":"prometheus"}},
            "rules":{"enabled":true,"labels":{"release":"prometheus"},
                "runbooks":"https://docs.example.com/balancer/","alerts":{"BalancerSuspectBackend":false}}},
            "dashboards":{"enabled":true},"peers":{"key":"a-key-of-the-tests-and-of-nothing-else"}}"#,
    ),
    (
        EXISTING_ACCOUNT,
        r#"{"serviceAccount":{"create":false,"name":"there"},"rbac":{"create":false},
            "cleanup":{"enabled":false},"peers":{"enabled":false}}"#,
    ),
];
/// Leaves account and rights to somebody else.
pub const EXISTING_ACCOUNT: &str = "helm-existing-account";
const OVERLAYS: [&str; 3] = ["beside-kube-proxy", "instead-of-kube-proxy", "uninstall"];

const PYTHON: &str = "\
import json, sys, helm_python
with helm_python.Chart.load(sys.argv[1]) as chart:
    files = chart.render(json.loads(sys.argv[2]), name='balancer', namespace='kube-system')
for name in sorted(files):
    if name.endswith('.yaml'):
        print('---')
        print(files[name].strip())
";

/// What is kept, by name; every file of it.
pub fn kept(name: &str) -> Vec<Value> {
    let path = path(name);
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; BLESS=1 writes it", path.display()));
    strict(name, &text)
}

/// The names of all that is kept.
pub fn names() -> impl Iterator<Item = &'static str> {
    OVERLAYS.into_iter().chain(CHARTS.map(|(name, _)| name))
}

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/rendered");
    folder.join(name).with_extension("yaml")
}

/// Standard output, where the program is there; a failure of the program fails the test.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{error}", output.status);
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn has(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn compare(name: &str, now: &str) {
    let now_parsed = strict(name, now);
    if env::var_os("BLESS").is_some() {
        fs::write(path(name), now).expect("written");
    }
    assert_eq!(kept(name), now_parsed, "{name} is kept otherwise: run this test with BLESS=1");
}

#[test]
fn kustomize_gives_what_is_kept() {
    if !has("kubectl", &["version", "--client"]) {
        eprintln!("left out: there is no kubectl");
        return;
    }
    for name in OVERLAYS {
        let now = said(Command::new("kubectl").arg("kustomize").arg(deploy().join(name)));
        compare(name, &now.expect("kubectl"));
    }
}

#[test]
fn helm_gives_what_is_kept() {
    let chart = deploy().join("helm/balancer");
    let python = env::var("BALANCER_HELM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    for (name, values) in CHARTS {
        let mut command = if has("helm", &["version"]) {
            let mut helm = Command::new("helm");
            let file = tempfile::NamedTempFile::new().expect("a file");
            fs::write(file.path(), values).expect("written");
            let (_, path) = file.keep().expect("a file");
            helm.args(["template", "balancer", "--namespace", "kube-system", "--values"]);
            helm.arg(path).arg(&chart);
            helm
        } else if has(&python, &["-c", "import helm_python"]) {
            let mut sdk = Command::new(&python);
            sdk.args(["-c", PYTHON]).arg(&chart).arg(values);
            sdk
        } else {
            eprintln!("left out: there is neither helm nor the Python package helm-python-sdk");
            return;
        };
        compare(name, &said(&mut command).expect("helm"));
    }
}
