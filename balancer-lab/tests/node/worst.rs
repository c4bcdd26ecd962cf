//! The worst objects that the API admits: the agent stays within its limits, and serves the others.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{VIP, address, dial, serve};
use balancer_lab::{
    Agent, Lab, Pod,
    apiserver::Process,
    manifests::{Manifests, Service},
    usage,
};
use serde_json::{Value, json};

const MANY: usize = 1_000;
/// The API takes annotations of 256 KiB for an object.
const SIZE: usize = 250_000;
/// The limit of memory in `deploy/`, in kB.
const LIMIT: u64 = 512 * 1024;
/// Of a processor: what else runs on the machine does not count.
const READY: Duration = Duration::from_secs(10);

fn filled(text: &str) -> String {
    text.repeat(SIZE / text.len())
}

/// A Service whose annotations are as long as they may be, and wrong in one of many ways.
fn worst(number: usize) -> Value {
    let ip = Ipv4Addr::from(0x0a61_0000 + number as u32 + 1);
    let mut object = Service::new(&format!("worst-{number}"), ip, 80, 8080, [address(1)]).service();
    let annotation = |name: &str, value: String| json!({format!("balancer-agent/{name}"): value});
    let annotations = match number % 8 {
        0 => annotation("weights", filled("x,")),
        1 => annotation("weights", filled("pod/a=1,")),
        2 => annotation("policy", filled("least-connections-")),
        3 => annotation("slow-start", filled("9")),
        4 => annotation("quiet-time", filled("\u{e9}\n\"")),
        5 => (0..SIZE / 40)
            .map(|n| (format!("balancer-agent/rebalanse-{n:06}"), json!("true")))
            .collect(),
        6 => json!({"service.beta.kubernetes.io/load-balancer-source-ranges": filled("office,")}),
        // Not read at all, and not to be kept.
        _ => json!({"example.org/configuration": filled("0123456789")}),
    };
    object["metadata"]["annotations"] = annotations;
    object
}

/// The most memory that the agent has had, in kB.
fn most_memory(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid().expect("running")));
    let status = status.expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn is_told_in_bounded_words(agent: &Agent) {
    let status = agent.json(&["status"]).expect("status");
    let problems = status["problems"].as_array().expect("problems");
    assert!(problems.len() <= 1_001, "{} problems", problems.len());
    for problem in problems {
        let text = problem.to_string();
        assert!(text.len() < 4_000, "{} characters: {}...", text.len(), &text[..400]);
    }
    let log = fs::metadata(agent.log_path()).expect("a log").len();
    assert!(log < 4 << 20, "{log} bytes of log");
}

/// Looks at an agent that was ready after `time`, and dials the Service that is like others.
fn is_within_its_limits(agent: &Agent, time: Duration, client: &Pod) {
    let memory = most_memory(agent);
    let taken = usage::processor_time(agent).expect("running");
    println!("{MANY} Services: ready in {time:?}, of them {taken:?} its own, {memory} kB at most");
    assert!(taken < READY, "{taken:?} of a processor, ready in {time:?}");
    assert!(memory < LIMIT, "{memory} kB");
    assert_eq!(dial(client.place(), (VIP, 80))["error"], Value::Null, "others are served");
    is_told_in_bounded_words(agent);
}

#[test]
fn a_folder_of_monstrous_services_leaves_the_agent_within_its_limits() {
    let lab = Lab::create("worst-folder").expect("a lab");
    let (client, pod) = (lab.pod("client", address(200)), lab.pod("web-1", address(1)));
    let (client, pod) = (client.expect("client"), pod.expect("backend"));
    let _server = serve(&pod);
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    manifests.write(&Service::new("web", VIP, 80, 8080, [pod.ip()])).expect("written");
    for number in 0..MANY {
        let name = format!("worst-{number}.json");
        manifests.write_text(&name, &worst(number).to_string()).expect("written");
    }
    let started = Instant::now();
    let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");
    is_within_its_limits(&agent, started.elapsed(), &client);
}

#[test]
fn an_api_server_full_of_monstrous_services_leaves_the_agent_within_its_limits() {
    let lab = Lab::create("worst-api").expect("a lab");
    let (client, pod) = (lab.pod("client", address(200)), lab.pod("web-1", address(1)));
    let (client, pod) = (client.expect("client"), pod.expect("backend"));
    let _server = serve(&pod);
    let listen = SocketAddr::from((Ipv4Addr::new(172, 18, 0, 1), 6443));
    let api =
        Process::start(lab.outside(), &lab.state_dir().join("api"), listen).expect("a server");
    let web = Service::new("web", VIP, 80, 8080, [pod.ip()]);
    api.put(&[web.service(), web.endpoint_slice()]).expect("put");
    for numbers in (0..MANY).collect::<Vec<_>>().chunks(20) {
        api.put(&numbers.iter().map(|n| worst(*n)).collect::<Vec<_>>()).expect("put");
    }
    let started = Instant::now();
    let agent = Agent::start_watching(&lab, &api.kubeconfig(), &[]).expect("agent");
    is_within_its_limits(&agent, started.elapsed(), &client);
}
