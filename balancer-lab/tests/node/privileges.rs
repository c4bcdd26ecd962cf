//! The agent with no more capabilities than it needs, and with one less than that.

use std::{
    fs,
    net::Ipv4Addr,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::common::{
    VIP, Web,
    clients::{Client, pod_object, tell},
    dial,
};
use balancer_lab::{Agent, Lab, error::Error, manifests::Manifests};
use serde_json::{Value, json};

/// What balancing takes.
const LEAST: &str = "+net_admin,+bpf,+perfmon";
/// What telling pods from each other takes besides.
const ALL: &str = "+net_admin,+bpf,+perfmon,+sys_admin,+sys_ptrace";

/// The agent with these capabilities alone, and no way to more.
fn start(web: &Web, capabilities: &str) -> Result<Agent, Error> {
    start_in(&web.lab, &web.manifests, capabilities)
}

fn start_in(lab: &Lab, manifests: &Manifests, capabilities: &str) -> Result<Agent, Error> {
    let bounding = format!("--bounding-set=-all,{capabilities}");
    let through = ["setpriv", &bounding, "--inh-caps=-all", "--no-new-privs"];
    Agent::start_through(lab, manifests.dir(), &through)
}

/// The answer to a program that dials an address of the Service.
fn told(client: &Client, ip: Ipv4Addr) -> String {
    let said = dial(client.pod.place(), (ip, 80));
    said["error"].as_str().unwrap_or("connected").to_owned()
}

/// A Service with an address that only one client may use.
fn restrict(web: &mut Web, balancer: Ipv4Addr, admitted: &str) {
    web.service = web.service.clone().with("type", json!("LoadBalancer"));
    web.service.status = json!({"loadBalancer": {"ingress": [{"ip": balancer}]}});
    web.service = web.service.clone().with("loadBalancerSourceRanges", json!([admitted]));
    web.manifests.write(&web.service).expect("written");
}

#[test]
fn three_capabilities_are_enough_to_balance() {
    let mut web = Web::start("least", 2);
    web.agent.terminate().expect("terminated");
    web.agent.cli(&["cleanup"]).expect("cleaned up");
    let agent = start(&web, LEAST).expect("an agent with three capabilities");
    let status = agent.json(&["status"]).expect("status");
    assert_eq!(status["balancing"]["state"], json!("works"), "{status:#}");
    assert_eq!(status["problems"], json!([]), "{status:#}");
    let said = dial(web.client.place(), (VIP, 80));
    assert_eq!(said["peer"], json!(format!("{VIP}:80")), "{said}");
    let effective = effective(&agent);
    assert_eq!(effective, 1 << 12 | 1 << 38 | 1 << 39, "{effective:#x}");
}

fn effective(agent: &Agent) -> u64 {
    let pid = agent.pid().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("CapEff");
    u64::from_str_radix(line.trim(), 16).expect("a number")
}

#[test]
fn without_one_of_the_three_it_ends_with_its_name() {
    let lab = Lab::create("lacking").expect("a lab; the tests need root, iproute2, and cgroup2");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    for (capabilities, name) in [
        ("+bpf,+perfmon", "CAP_NET_ADMIN"),
        ("+net_admin,+perfmon", "CAP_BPF"),
        ("+net_admin,+bpf", "CAP_PERFMON"),
    ] {
        let error = start_in(&lab, &manifests, capabilities).expect_err(name).to_string();
        assert!(error.contains("exit status: 4"), "{error}");
        assert!(error.contains(&format!("lacks {name}")), "{error}");
    }
}

#[test]
fn in_a_time_namespace_it_ends_with_the_reason() {
    let lab = Lab::create("clock").expect("a lab; the tests need root, iproute2, and cgroup2");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    for (seconds, side) in [("36000", "36000 s ahead of"), ("-60", "60 s behind")] {
        let through = ["unshare", "--time", "--monotonic", seconds];
        let error = Agent::start_through(&lab, manifests.dir(), &through);
        let error = error.expect_err("no agent with another clock").to_string();
        assert!(error.contains("exit status: 4"), "{error}");
        assert!(error.contains("in a time namespace") && error.contains(side), "{error}");
    }
}

#[test]
fn source_ranges_take_two_more_and_say_so() {
    let balancer = Ipv4Addr::new(203, 0, 113, 2);
    let mut web = Web::start("ranges-caps", 1);
    let client = Client::start(&web, 201);
    tell(&web, &[pod_object(201, None)]);
    restrict(&mut web, balancer, "10.244.0.201/32");
    web.agent.terminate().expect("terminated");

    let agent = start(&web, ALL).expect("an agent with five capabilities");
    await_answer(&agent, || told(&client, balancer), "connected");
    drop(agent);

    // Whoever is a client is not known: kube-proxy's rules would take the connection.
    web.agent.cli(&["cleanup"]).expect("cleaned up");
    let agent = start(&web, LEAST).expect("an agent with three capabilities");
    assert_eq!(told(&client, balancer), "timed out");
    let verdicts = agent.json(&["status"]).expect("status")["verdicts"].clone();
    let unknown = verdicts.as_array().expect("verdicts").iter();
    let unknown: Vec<_> = unknown.filter(|v| v["name"] == "source-unknown").collect();
    assert_eq!(unknown[0]["total"], json!(1), "{verdicts}");
    let finding = finding(&agent, LEAST, "processes");
    assert_eq!(finding["result"], json!("warn"), "{finding}");
    assert!(finding["detail"].to_string().contains("CAP_SYS_PTRACE"), "{finding}");
}

/// What `doctor` says of a check to a process with these capabilities.
fn finding(agent: &Agent, capabilities: &str, check: &str) -> Value {
    let mut command = std::process::Command::new("setpriv");
    command
        .arg(format!("--bounding-set=-all,{capabilities}"))
        .args(["--inh-caps=-all", "--no-new-privs"])
        .arg(agent.binary())
        .args(["doctor", "-o", "json"])
        .stderr(Stdio::null());
    let output = command.output().expect("setpriv of util-linux");
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = findings.into_iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no check {check}"))
}

fn await_answer(agent: &Agent, answer: impl Fn() -> String, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = answer();
        if found == wanted {
            return;
        }
        let log = agent.log().unwrap_or_default();
        assert!(Instant::now() < deadline, "{found}, not {wanted}\nlog of the agent:\n{log}");
    }
}
