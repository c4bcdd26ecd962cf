//! Drives the real binary: exit codes, help, messages and the forms of output.

mod completions;
mod double;
mod names;
mod reference;
mod screen;
mod tmux;
mod watch;

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output, Stdio},
};

use double::{Double, blind};
use serde_json::Value;
use tempfile::TempDir;

const VERBS: [&str; 17] = [
    "run",
    "status",
    "services",
    "backends",
    "connections",
    "clients",
    "top",
    "explain",
    "peers",
    "rebalance",
    "drain",
    "events",
    "trace",
    "doctor",
    "sysdump",
    "cleanup",
    "completions",
];

/// How the binary ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    #[track_caller]
    fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    fn saying(self, what: &str) -> Self {
        assert!(self.err.contains(what), "{what:?} is not in {self:?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn finish(command: &mut Command) -> Ended {
    ended(command.env_remove("RUST_LOG").output().expect("a binary that starts"))
}

fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("an exit code");
    Ended { code, out: text(output.stdout), err: text(output.stderr) }
}

fn agent(args: &[&str]) -> Ended {
    finish(Command::new(env!("CARGO_BIN_EXE_balancer-agent")).args(args))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &[][..],
        &["dance"],
        &["run", "--no-such-flag"],
        &["run", "--max-slots", "many"],
        &["run", "--log-format", "xml"],
        &["services", "-o", "xml"],
        &["services", "a/b/c"],
        &["completions"],
    ] {
        let ended = agent(args).with(2);
        assert!(ended.out.is_empty(), "{ended:?}");
        assert!(ended.err.contains("Usage:") || ended.err.contains("error:"), "{ended:?}");
    }
}

#[test]
fn every_help_has_examples() {
    for verb in VERBS {
        for flag in ["-h", "--help"] {
            let ended = agent(&[verb, flag]).with(0);
            assert!(ended.out.contains("Examples:\n"), "{ended:?}");
            assert!(ended.out.contains(&format!("balancer-agent {verb}")), "{ended:?}");
        }
    }
    let ended = agent(&["--help"]).with(0);
    for word in VERBS.iter().chain(&["Examples:", "Exit codes:"]) {
        assert!(ended.out.contains(word), "{word} is not in {ended:?}");
    }
}

/// For those who package the binary: a page of each verb, and of none that is hidden.
#[test]
fn every_verb_has_a_man_page() {
    let folder = TempDir::new().expect("a folder");
    agent(&["manual", folder.path().to_str().expect("text")]).with(0);
    let mut pages: Vec<_> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|page| page.expect("a page").file_name().into_string().expect("text"))
        .collect();
    pages.sort();
    let mut want = VERBS.map(|verb| format!("balancer-agent-{verb}.1")).to_vec();
    want.push("balancer-agent.1".to_owned());
    want.sort();
    assert_eq!(pages, want);
    let page = fs::read_to_string(folder.path().join("balancer-agent-run.1")).expect("a page");
    assert!(page.contains(".TH") && page.contains("Examples"), "{page}");
    agent(&["manual", "/nonexistent"]).with(1);
}

#[test]
fn run_reads_a_folder_or_a_cluster_but_not_both() {
    let both = ["run", "--manifests", "/m", "--kubeconfig", "/k"];
    let ended = agent(&both).with(2).saying("--manifests and --kubeconfig exclude each other");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
}

/// What the kernel tells is there in any case; what is not, is named.
#[test]
fn an_archive_is_written_where_there_is_nothing_to_ask() {
    let folder = folder();
    let (archive, away) = (path(&folder, "node.tar.gz"), path(&folder, "nothing"));
    let place = ["--socket", &away, "--bpffs", &away];
    let ended = agent(&[&["sysdump", "-o", &archive], &place[..]].concat()).with(0);
    assert_eq!(ended.out, format!("{archive}\n"));
    let ended = ended.saying("agent not reachable").saying("services: nothing is balanced here");
    assert!(ended.err.lines().all(|line| line.starts_with("note: ")), "{ended:?}");
    let list = finish(Command::new("tar").args(["tzf", &archive])).with(0).out;
    for name in ["lacking.txt", "doctor.json", "facts.txt", "kernel.json", "version.json"] {
        assert!(list.lines().any(|line| line.ends_with(&format!("/{name}"))), "{name}: {list}");
    }
    let nowhere = path(&folder, "not/there.tar.gz");
    let ended = agent(&[&["sysdump", "-o", &nowhere], &place[..]].concat()).with(1);
    ended.saying("name another file with -o");
}

#[test]
fn faults_of_the_configuration_name_key_and_file() {
    let folder = folder();
    let file = path(&folder, "agent.yaml");
    for (text, what) in [
        ("manifests: /m\nmax-slots: 3\n", "unknown field `max-slots`"),
        ("maxSlots: lots\n", "maxSlots: invalid u32 at line 1"),
        ("- a\n- b\n", "expected mapping"),
        ("manifests: \"\n", "line 2"),
    ] {
        fs::write(&file, text).expect("a written file");
        agent(&["run", "--config", &file]).with(2).saying(what).saying(&file);
    }
    let missing = path(&folder, "missing.yaml");
    agent(&["run", "--config", &missing]).with(2).saying(&missing).saying("No such file");
    fs::write(&file, "manifests: /m\nhealthzBindAddress: here\n").expect("a written file");
    agent(&["run", "--config", &file]).with(2).saying("--healthz-bind-address \"here\"");
}

#[test]
fn without_agent_and_maps_inspection_exits_with_3() {
    let folder = folder();
    let (socket, bpffs) = (path(&folder, "agent.sock"), path(&folder, "bpf"));
    for verb in [
        &["status"][..],
        &["services"],
        &["backends"],
        &["connections"],
        &["explain", "10.96.0.10:80"],
    ] {
        let place = ["--socket", &socket, "--bpffs", &bpffs];
        let ended = agent(&[verb, &place].concat()).with(3);
        let ended = ended.saying("agent not reachable at").saying(&socket).saying(&bpffs);
        assert!(ended.out.is_empty(), "{ended:?}");
    }
    // Nothing but an agent can do these.
    for verb in [&["drain", "10.0.0.1"][..], &["rebalance", "cart"], &["trace"], &["events"]] {
        let ended = agent(&[verb, &["--socket", &socket]].concat()).with(3);
        assert!(ended.saying("agent not reachable at").out.is_empty());
    }
}

#[test]
fn a_user_without_privileges_is_told_so() {
    const NOBODY: u32 = 65534;
    let folder = folder();
    // The target folder may be out of reach for others.
    let binary = folder.path().join("balancer-agent");
    // By a process of its own: what another thread starts meanwhile has every descriptor of this one
    // until its execve(2), and a file that is open for writing can't be executed.
    let mut copy = Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_balancer-agent")).arg(&binary).status();
    assert!(copied.expect("cp").success(), "a copy of the binary");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).current_dir("/");
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        finish(&mut command)
    };
    let ended = as_nobody(&["run", "--manifests", "/tmp"]).with(4);
    let ended = ended.saying("this process lacks CAP_BPF").saying("run it as root");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    as_nobody(&["cleanup"]).with(4).saying("run it as root");
    let findings = as_nobody(&["doctor", "-o", "json"]).with(4).json();
    let privileges =
        findings.as_array().and_then(|all| all.iter().find(|f| f["check"] == "privileges"));
    assert_eq!(privileges.map(|found| &found["result"]), Some(&"fail".into()), "{findings}");
}

#[test]
fn a_node_that_lacks_something_is_told_in_one_sentence() {
    let folder = folder();
    let plain = folder.path().display().to_string();
    let root = nix::unistd::geteuid().is_root();
    for (flag, what) in
        [("--cgroup", "is not a folder of cgroup2"), ("--bpffs", "is not on a BPF file system")]
    {
        let ended = agent(&["run", "--manifests", &plain, flag, &plain]).with(4);
        let ended = if root { ended.saying(what).saying(&plain) } else { ended.saying("lacks") };
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn the_doctor_writes_json() {
    let ended = agent(&["doctor", "-o", "json"]);
    let findings = ended.json();
    let findings = findings.as_array().expect("an array");
    for finding in findings {
        let fields: Vec<_> = finding.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["check", "detail", "remedy", "result"], "{finding}");
        let result = finding["result"].as_str().expect("a result");
        assert!(["ok", "warn", "fail"].contains(&result), "{finding}");
        assert_eq!(finding["remedy"].is_null(), result == "ok", "{finding}");
    }
    let has = |check: &str| findings.iter().any(|finding| finding["check"] == check);
    for check in ["kernel", "privileges", "cgroup", "bpffs", "btf", "other-programs", "conntrack"] {
        assert!(has(check), "{check} is missing: {ended:?}");
    }
    let failed = findings.iter().any(|finding| finding["result"] == "fail");
    assert_eq!(ended.code, if failed { 4 } else { 0 }, "{ended:?}");
}

#[test]
fn views_of_a_running_agent_are_shown() {
    let double = Double::start();
    let ask = |args: &[&str]| agent(&[args, &["--socket", double.socket()]].concat());

    let services = ask(&["services", "-o", "json"]).with(0).json();
    let names: Vec<_> = services.as_array().expect("an array").iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["api", "cart"], "sorted by namespace");
    assert_eq!(services[1]["backends"][0]["active"], 3);
    let backends = ask(&["backends", "shop/cart", "-o", "json"]).with(0).json();
    assert_eq!(backends[0]["address"], "10.0.0.1");
    assert_eq!(backends[0]["service_port"]["number"], 80);
    assert_eq!(ask(&["status", "-o", "json"]).with(0).json()["agent"]["node"], "worker-1");

    let filters = ["--service", "shop/cart", "--backend", "10.0.0.1", "--pod", "client-1"];
    let connections = ask(&[&["connections", "-o", "json"], &filters[..]].concat()).with(0).json();
    assert_eq!(connections[0]["service"], "cart");
    assert_eq!(connections[0]["backend"]["address"], "10.0.0.1");
    assert_eq!(connections[0]["pod"]["namespace"], "default");
    let peers = ask(&["peers", "-o", "json"]).with(0).json();
    assert_eq!((&peers[0]["node"], &peers[0]["heard_ms"]), (&"worker-2".into(), &240.into()));
    ask(&["connections", "--backend", "web-0"]).with(2).saying("give ADDRESS or ADDRESS:PORT");

    let told = ask(&["explain", "[::ffff:10.96.0.10]:80", "--pod", "shop/web-1"]).with(0);
    assert!(
        told.out.contains("Dialled:   10.96.0.10:80/TCP\nClient:    pod shop/web-1\n"),
        "{told:?}"
    );
    assert!(
        told.out.contains("connect() fails with ECONNREFUSED (Connection refused)"),
        "{told:?}"
    );
    ask(&["explain", "10.96.0.10"]).with(2).saying("give ADDRESS:PORT");

    let named =
        ask(&["connections", "shop/cart", "--backend", "10.0.0.1", "--pod", "a", "-o", "json"])
            .with(0)
            .json();
    assert_eq!(named[0]["service"], "cart");
    ask(&["rebalance", "shop/crat"]).with(1).saying("did you mean shop/cart?");

    let moves = ask(&["rebalance", "shop/cart", "--dry-run", "-o", "json"]).with(0).json();
    assert_eq!((&moves["moves"][0]["reason"], &moves["busy"]), (&"rebalance".into(), &1.into()));
    let moves = ask(&["rebalance", "shop/cart"]).with(0).saying("ended: 1");
    assert!(moves.out.contains("10.0.0.9:40000   10.0.0.1:8080   1500ms   rebalance   gentle"));
    ask(&["rebalance", "shop/none"]).with(1).saying("Service shop/none is not balanced");
    let drained = ask(&["drain", "10.0.0.1", "--wait"]).with(0);
    assert!(drained.out.contains("10.0.0.1:8080   shop/cart"), "{drained:?}");
    let ended = ask(&["drain", double::ENDED, "--wait"]).with(1);
    assert!(ended.err.contains("10.0.0.5 is drained no more: somebody has ended it"), "{ended:?}");
    ask(&["drain", "10.0.0.9"]).with(1).saying("no Service has a TCP backend");
    ask(&["drain", "10.0.0.1", "--timeout", "banana"]).with(2).saying("give a time from 1s to 1h");
    ask(&["drain", "--wait"]).with(2);

    let events = ask(&["events", "shop/cart", "--since", "5m", "-o", "json"]).with(0).json();
    assert_eq!((&events[0]["kind"], &events[0]["age_ms"]), (&"endpoints".into(), &300_000.into()));
    let table = ask(&["events"]).with(0);
    assert_eq!(
        table.out,
        "AGE    KIND        OBJECT              MESSAGE\n\
         5m0s   endpoints   Service shop/cart   port 80/TCP: gone 10.0.0.2:80; now 1 endpoint\n"
    );
    ask(&["events", "--since", "0s"]).with(2).saying("give a time of 1s or more");

    let yaml = ask(&["backends", "api", "-o", "yaml"]).with(0);
    assert!(yaml.out.starts_with("- namespace: default\n  service: api\n"), "{yaml:?}");
    let table = ask(&["backends"]).with(0);
    assert!(table.out.starts_with("NAMESPACE   SERVICE   PORT"), "{table:?}");
    assert!(!table.out.contains('\u{1b}'), "colours without a terminal: {table:?}");
    ask(&["services", "shop/crat"]).with(1).saying("did you mean shop/cart?");
}

#[test]
fn lines_are_shown_as_they_come() {
    let double = Double::start();
    let ask = |args: &[&str]| agent(&[&["trace"], args, &["--socket", double.socket()]].concat());
    let text = |ended: &Ended| ended.out.replace('\u{1b}', "^");
    let ended = ask(&["--max-events", "2"]).with(0);
    assert_eq!(
        text(&ended),
        "12:00:00.000001  chosen   shop/frontend curl[42]  10.96.0.10:80/TCP (shop/cart) -> \
         10.0.0.1:8080  tie: had 2, least 2 of 3 among 4 of 5\n\
         7 events not told: 7 above what programs tell in a second\n\
         12:00:01.500000  ended    - [42]  10.96.0.10:80/TCP (shop/cart) -> 10.0.0.1:8080  \
         rebalance, permitted after 1.5s, 300B sent, 5000B received\n"
    );
    assert!(ended.err.contains("note: from now on"), "{ended:?}");
    assert!(ended.err.contains("note: 7 events were not told"), "{ended:?}");
    let wide = ask(&["-o", "wide", "--max-events", "2"]).with(0);
    for part in ["among 4 of 5, least-connections\n", "received, from 10.0.0.9:40000\n"] {
        assert!(wide.out.contains(part), "{part:?} in {wide:?}");
    }
    // An object a line, and what was not told among them.
    let json = ask(&["-o", "json", "--max-events", "2"]).with(0);
    let lines: Vec<Value> =
        json.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let events: Vec<_> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["dialled", "dropped", "ended"]);
    assert_eq!((&lines[0]["choice"]["why"], &lines[1]["capped"]), (&"tie".into(), &7.into()));
    let yaml = ask(&["-o", "yaml", "--max-events", "1"]).with(0);
    assert!(yaml.out.starts_with("---\nevent: dialled\n"), "{yaml:?}");
    // The double says no more than that: its lines end.
    let gone = ask(&[]).with(3).saying("the agent has ended");
    assert_eq!(gone.out.lines().count(), 3, "{gone:?}");

    ask(&["shop/crat"]).with(1).saying("did you mean shop/cart?");
    ask(&["--verdict", "green"]).with(2).saying("possible values: balanced, no-endpoint");
    ask(&["--max-events", "0"]).with(2);
    ask(&["--timeout", "0s"]).with(2).saying("give a time above 0");
}

#[test]
fn lists_are_narrowed_and_sorted() {
    let double = Double::start();
    let ask = |args: &[&str]| agent(&[args, &["--socket", double.socket()]].concat());
    let names = |args: &[&str]| -> Vec<String> {
        let ended = ask(&[args, &["--no-headers"]].concat()).with(0);
        ended
            .out
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
            .map(Into::into)
            .collect()
    };
    assert_eq!(names(&["services", "-A"]), ["api", "cart"]);
    assert_eq!(names(&["services", "-n", "shop"]), ["cart"]);
    assert_eq!(names(&["services", "-n", "shop", "cart"]), ["cart"], "a name alone is in shop");
    assert_eq!(names(&["backends", "--namespace", "default"]), ["api"]);
    assert_eq!(names(&["services", "--sort-by", "name"]), ["api", "cart"]);
    assert_eq!(names(&["backends", "--sort-by", "CONNECTIONS"]), ["api", "cart"]);
    let open = ["connections", "cart", "-n", "shop", "--backend", "10.0.0.1", "--pod", "a"];
    let open = ask(&[&open[..], &["-o", "json"]].concat()).with(0).json();
    assert_eq!(
        (&open[0]["namespace"], &open[0]["pod"]["namespace"]),
        (&"shop".into(), &"shop".into())
    );

    let none = ask(&["services", "-n", "none", "-o", "json"]).with(0);
    assert_eq!(none.json(), Value::Array(Vec::new()));
    let none = ask(&["services", "-n", "none", "--no-headers"]).with(0);
    assert_eq!(none.saying("nothing of namespace none is known on this node").out, "");
    ask(&["services", "api", "-n", "shop"]).with(1).saying("did you mean default/api?");
    for verb in ["services", "backends", "connections"] {
        ask(&[verb, "-n", "shop", "-A"]).with(2).saying("cannot be used with");
        ask(&[verb, "-n", ""]).with(2);
        ask(&[verb, "default/api", "-n", "shop"])
            .with(2)
            .saying("default/api is not in the namespace shop");
        ask(&[verb, "--sort-by", "colour"]).with(2).saying("[possible values: namespace, ");
    }
}

#[test]
fn what_can_not_be_read_is_no_empty_answer() {
    let double = Double::serving(blind());
    let ask = |args: &[&str]| agent(&[args, &["--socket", double.socket()]].concat());
    for verb in [
        &["services"][..],
        &["backends"],
        &["connections"],
        &["clients"],
        &["top", "--once"],
        &["rebalance", "shop/cart"],
    ] {
        let ended = ask(verb).with(1).saying("the maps can't be read: map NAMES");
        assert_eq!(ended.out, "", "{verb:?}");
    }
    let status = ask(&["status", "-o", "json"]).with(1).json();
    assert_eq!(status["agent"]["node"], "worker-1", "what is known is shown");
    assert_eq!(status["connections"], Value::Null);
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let double = Double::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_balancer-agent"));
    command.args(["services", "--socket", double.socket()]).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a binary that starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an ended process");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn cleanup_refuses_beside_a_running_agent() {
    let double = Double::start();
    let ended = agent(&["cleanup", "--socket", double.socket(), "--bpffs", double::BPFFS]);
    let code = if nix::unistd::geteuid().is_root() { 1 } else { 4 };
    ended.with(code).saying(if code == 1 { "the agent is running (pid 4321)" } else { "CAP_BPF" });
    assert!(Path::new(double.socket()).exists());
}
