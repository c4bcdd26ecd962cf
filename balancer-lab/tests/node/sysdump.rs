//! The archive for a report of a fault: what is in it with an agent and without, and what never is.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use balancer_lab::{
    Agent, Lab,
    apiserver::Process,
    manifests::{Endpoint, Service},
};
use serde_json::{Value, json};

use crate::common::{Connections, VIP, address, await_shown, serve};

const KEY: &str = "00112233445566778899aabbccddeeffcafed00dcafed00dcafed00dcafed00d";

/// Files of an archive by their names, in the one folder that it has.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let folder = archive.with_extension("unpacked");
    fs::create_dir_all(&folder).expect("a folder");
    let mut tar = Command::new("tar");
    let done = tar.arg("xzf").arg(archive).arg("-C").arg(&folder).status().expect("tar");
    assert!(done.success(), "{} is no tar.gz", archive.display());
    let inner = |at: &Path| -> Vec<PathBuf> {
        fs::read_dir(at).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    let [only] = &inner(&folder)[..] else { panic!("more than one folder: {:?}", inner(&folder)) };
    let text = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_str().expect("text").to_owned();
        (name, fs::read_to_string(&path).expect("text"))
    };
    inner(only).into_iter().map(text).collect()
}

/// The archive of an agent, or of what it left; beside it what was said on standard error.
fn dump(agent: &Agent, file: &Path) -> (BTreeMap<String, String>, String) {
    let file_name = file.display().to_string();
    let output = agent.cli_command(&["sysdump", "-o", &file_name]).output().expect("started");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8(output.stdout).expect("text"), file_name + "\n");
    assert_eq!(fs::metadata(file).expect("written").mode() & 0o777, 0o600);
    (unpacked(file), said)
}

fn json_of(files: &BTreeMap<String, String>, name: &str) -> Value {
    let text = files.get(name).unwrap_or_else(|| panic!("{name} is not in {:?}", files.keys()));
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn an_archive_has_what_is_known_of_a_node_and_no_secret() {
    let lab = Lab::create("sysdump").expect("a lab; the tests need root, iproute2, and cgroup2");
    let client = lab.pod("client", address(200)).expect("client");
    let backend = lab.pod("web-1", address(1)).expect("a backend");
    let _server = serve(&backend);
    let listen = SocketAddr::from((Ipv4Addr::new(172, 18, 0, 1), 6443));
    let api = Process::start(lab.outside(), &lab.state_dir().join("api"), listen).expect("started");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lab-node"}});
    let web = Service::new("web", VIP, 80, 8080, [backend.ip()]);
    let none = Service {
        endpoints: vec![Endpoint { ready: Some(false), ..Endpoint::ready(address(2)) }],
        ..Service::new("none", Ipv4Addr::new(10, 96, 0, 11), 80, 8080, [] as [Ipv4Addr; 0])
    };
    let objects = [&web, &none].map(|service| [service.service(), service.endpoint_slice()]);
    api.put(&[&objects.concat()[..], &[node]].concat()).expect("put");

    let key = lab.state_dir().join("key");
    fs::write(&key, KEY).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("a mode");
    let key = key.display().to_string();
    let flags = ["--peers", "kube-system/balancer-agent-peers", "--peer-key", &key];
    let mut agent = Agent::start_watching(&lab, &api.kubeconfig(), &flags).expect("agent");
    await_shown(&agent, |all| all.len() == 2);
    let _open = Connections::open(client.place(), (VIP, 80), 3).opened((VIP, 80));

    let (files, said) = dump(&agent, &lab.state_dir().join("whole.tar.gz"));
    assert_eq!(said, "");
    assert!(!files.contains_key("lacking.txt"), "{files:?}");
    assert_eq!(json_of(&files, "version.json")["node"], "lab-node");
    assert_eq!(json_of(&files, "status.json")["connections"], 3);
    assert_eq!(json_of(&files, "services.json").as_array().map(Vec::len), Some(2));
    assert_eq!(json_of(&files, "connections.json").as_array().map(Vec::len), Some(3));
    assert_eq!(json_of(&files, "clients.json")[0]["connections"], 3);
    // What is refused comes first.
    assert_eq!(json_of(&files, "why.json")[0]["verdict"], "no-endpoint");
    assert_eq!(json_of(&files, "configuration.json")["peerKey"], key.as_str());
    let programs = json_of(&files, "programs.json");
    assert_eq!(programs.as_array().map(Vec::len), Some(10), "{programs}");
    assert!(programs[0]["jited_bytes"].as_u64() > Some(0), "{programs}");
    let maps = json_of(&files, "maps.json");
    let map = |name: &str| maps.as_array().expect("maps").iter().find(|map| map["name"] == name);
    assert_eq!(map("NAMES").expect("a map")["entries"], 2, "{maps}");
    assert_eq!(map("FLOWS").expect("a map")["entries"], Value::Null, "{maps}");
    assert!(map("CHARGES").expect("a map")["memory_bytes"].as_u64() > Some(4 << 20), "{maps}");
    assert!(json_of(&files, "kernel.json")["release"].is_string());
    assert!(json_of(&files, "doctor.json")[0]["check"].is_string());
    assert!(files["facts.txt"].contains("conntrack"), "{}", files["facts.txt"]);
    assert!(files["log.txt"].contains("programs attached"), "{}", files["log.txt"]);
    assert!(files["metrics.txt"].contains("balancer_service_connections"));
    for name in ["events.json", "peers.json", "drains.json", "status.txt", "doctor.txt"] {
        assert!(files.contains_key(name), "{name} is not in {:?}", files.keys());
    }
    let token = fs::read_to_string(api.kubeconfig().with_file_name("token")).expect("a token");
    assert!(token.len() > 10, "{token}");
    for (name, text) in &files {
        for secret in [KEY, token.trim()] {
            assert!(!text.contains(secret), "{name} has a secret:\n{text}");
        }
    }

    agent.kill().expect("killed");
    let (files, said) = dump(&agent, &lab.state_dir().join("maps.tar.gz"));
    assert!(said.contains("note: ") && said.contains("not reachable"), "{said}");
    let lacking = &files["lacking.txt"];
    for what in ["events", "peers", "drains", "configuration and log", "metrics"] {
        assert!(lacking.contains(&format!("{what}: only an agent knows it")), "{lacking}");
    }
    assert_eq!(json_of(&files, "status.json")["connections"], 3);
    assert_eq!(json_of(&files, "connections.json").as_array().map(Vec::len), Some(3));
    assert_eq!(json_of(&files, "programs.json").as_array().map(Vec::len), Some(10));
    assert!(!files.contains_key("events.json"), "{:?}", files.keys());
}
