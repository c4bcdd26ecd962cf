//! More than usual, and more than there is room for.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use crate::common::{
    Connections, VIP, Web, active, address, await_shown,
    clients::{Client, pod_object, tell},
    connections::Many,
    dial, in_use,
};
use aya::maps::MapData;
use balancer_agent::maps::slab::Slab;
use balancer_common::{
    charge::{ALL_WORDS, KEY},
    layout::LAYOUT_VERSION,
};
use balancer_lab::{
    Agent, Lab, Pod,
    manifests::{Manifests, Service},
    sockets::open_by_peer,
};
use serde_json::Value;
use socket2::SockRef;

/// A Service of UDP.
const CROWD: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);
/// TCP connections of one backend.
const EACH: usize = 50_000;
/// UDP sockets of one backend: each takes a port of its pod.
const EACH_UDP: usize = 20_000;
/// Processes that connect, in each pod: no process may have more open than a limit of many machines.
const PROCESSES: usize = 4;

/// A listener whose connections wait in its queue: they are there, and take no descriptor.
fn listener(pod: &Pod) -> TcpListener {
    pod.place().set_sysctl("net/core/somaxconn", &(2 * EACH).to_string()).expect("set");
    let bind = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8080));
    let bound = pod.place().within(bind).expect("entered").expect("bound");
    SockRef::from(&bound).listen(2 * EACH as i32).expect("a longer queue");
    bound
}

fn service<A: Into<std::net::IpAddr>>(endpoints: impl IntoIterator<Item = A>) -> Service {
    Service::new("web", VIP, 80, 8080, endpoints)
}

fn counts(agent: &Agent) -> Vec<u64> {
    let shown = agent.json(&["services", "default/web"]).expect("services");
    active(&shown[0]).into_iter().map(|(_, active)| active).collect()
}

fn total(agent: &Agent) -> Value {
    agent.json(&["status"]).expect("status")["connections"].clone()
}

fn await_none(agent: &Agent) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while total(agent) != 0 {
        assert!(Instant::now() < deadline, "{} are left", total(agent));
    }
}

/// From four pods at once, with as many processors as there are: every choice sees those of the
/// others, so that no backend is ever more than one connection ahead. Then all are closed.
fn open_from_four_pods(name: &str, udp: bool) {
    let lab = Lab::create(name).expect("a lab; the tests need root, iproute2, and cgroup2");
    let pods = lab.pods((1..=4).map(|n| (format!("web-{n}"), address(n)))).expect("pods");
    let clients = lab.pods((11..=14).map(|n| (format!("client-{n}"), address(n)))).expect("pods");
    let listeners: Vec<_> = pods.iter().map(listener).collect();
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    let web = service(pods.iter().map(Pod::ip));
    manifests.write(&if udp { web.udp() } else { web }).expect("written");
    let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");

    let total_each = if udp { EACH_UDP } else { EACH };
    let each = total_each / PROCESSES;
    let start = |pod: &Pod| Connections::start_many(pod.place(), (VIP, 80), each, udp);
    let mut open: Vec<Many> = clients.iter().cycle().take(4 * PROCESSES).map(start).collect();
    let seconds = open.iter_mut().map(|many| many.opened(each)).fold(0.0, f64::max);
    println!("{} connections in {seconds:.1} s", 4 * total_each);
    assert_eq!(counts(&agent), [total_each as u64; 4]);
    assert_eq!(total(&agent), 4 * total_each);
    if !udp {
        let mut sockets = BTreeMap::<SocketAddr, u64>::new();
        for pod in &clients {
            for (peer, number) in open_by_peer(pod.place()).expect("ss") {
                *sockets.entry(peer).or_default() += number;
            }
        }
        let even = pods.iter().map(|pod| (pod.socket(8080), EACH as u64));
        assert_eq!(sockets, even.collect(), "the kernel knows the same");
    }
    drop(open);
    await_none(&agent);
    drop(listeners);
}

#[test]
fn two_hundred_thousand_connections_are_tracked() {
    open_from_four_pods("over-tcp", false);
}

#[test]
fn a_burst_from_every_processor_keeps_the_spread() {
    open_from_four_pods("over-udp", true);
}

fn problems(web: &Web) -> Vec<Value> {
    let status = web.agent.json(&["status"]).expect("status");
    status["problems"].as_array().expect("problems").clone()
}

/// A lab whose agent has the capacities, with two Services, of which `big` does not fit.
fn too_small(name: &str, flags: &[&str]) -> (Web, Service) {
    let mut web = Web::start(name, 3);
    assert!(web.agent.terminate().expect("terminated").success());
    assert!(web.agent.cli_command(&["cleanup"]).status().expect("run").success());
    let big = Service::new("zig", [10, 96, 3, 1], 80, 8080, (1..=9).map(address));
    web.manifests.write(&big).expect("written");
    web.agent = Agent::start(&web.lab, web.manifests.dir(), flags).expect("agent");
    (web, big)
}

/// What the agent that runs now answers to who collects metrics.
fn metrics(web: &Web) -> String {
    let log = web.agent.log().expect("log");
    let (_, address) = log.rsplit_once("serving metrics address=").expect("it serves them");
    let address = address.lines().next().expect("an address");
    let mut curl = web.lab.node().command("curl");
    let output = curl.args(["-s", &format!("http://{address}/metrics")]).output().expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What fits is balanced; what does not is left alone and named, in `status`, a metric and the log.
/// With more room it is balanced, and nothing is lost that was open meanwhile.
fn assert_left_out_until_there_is_room(name: &str, flag: &str, few: &str, enough: &str) {
    let (mut web, big) = too_small(name, &[flag, few]);
    let vip: SocketAddr = format!("{}:80", big.cluster_ip).parse().expect("an address");
    let left_out = problems(&web);
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0]["object"].as_str().expect("text").contains("default/zig"), "{left_out:?}");
    assert!(left_out[0]["message"].as_str().expect("text").contains(flag), "{left_out:?}");
    assert!(web.agent.log().expect("log").contains("default/zig"));
    let metrics = metrics(&web);
    let named = |line: &str| line.starts_with("balancer_object_problems{") && line.contains("zig");
    assert!(metrics.lines().any(named), "{metrics}");
    // Nobody else knows the address in this lab.
    assert_eq!(dial(web.client.place(), vip)["error"], "timed out");

    let held = Connections::open(web.client.place(), (VIP, 80), 7).opened((VIP, 80));
    let mut counted = web.counts();
    counted.sort_unstable();
    assert_eq!(counted, [2, 2, 3]);
    let (counts, opened) = (web.counts(), web.opened());
    assert!(web.agent.terminate().expect("terminated").success());
    web.agent = Agent::start(&web.lab, web.manifests.dir(), &[flag, enough]).expect("agent");
    assert_eq!((web.counts(), web.opened()), (counts, opened), "open ones and totals are kept");
    assert!(problems(&web).is_empty(), "{:?}", problems(&web));
    await_shown(&web.agent, |all| {
        all.iter().any(|s| s["name"] == "zig" && in_use(s).len() == big.endpoints.len())
    });
    // Three of the nine serve, and are shared with the other Service, whose connections count.
    let more = Connections::open(web.client.place(), (VIP, 80), 2).opened((VIP, 80));
    assert_eq!(web.counts(), [3, 3, 3], "the next go by what was open");
    drop((held, more));
    assert_eq!(web.counts(), [0, 0, 0], "and each ends once");
}

/// What else happens meanwhile makes nobody forget what did not fit, and nothing needs to be said of
/// it again once others make room.
#[test]
fn what_does_not_fit_is_told_until_others_make_room() {
    let (mut web, mut big) = too_small("over-later", &["--max-backends", "8"]);
    // Six beside the other Service's three, where seven fit.
    big.endpoints.drain(..3);
    web.manifests.write(&big).expect("written");
    // A pod is looked up again until it is there.
    tell(&web, &[pod_object(201, Some("false"))]);
    let pod = Client::start(&web, 201);
    let deadline = Instant::now() + Duration::from_secs(10);
    while dial(pod.pod.place(), (VIP, 80))["error"] != "timed out" {
        assert!(Instant::now() < deadline, "it is not left alone");
    }
    let told = problems(&web);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["object"].as_str().expect("text").contains("default/zig"), "{told:?}");

    web.service.endpoints.truncate(1);
    web.manifests.write(&web.service).expect("written");
    await_shown(&web.agent, |all| all.iter().any(|s| s["name"] == "zig" && in_use(s).len() == 6));
    assert!(problems(&web).is_empty(), "{:?}", problems(&web));
}

#[test]
fn too_few_services() {
    assert_left_out_until_there_is_room("over-services", "--max-services", "1", "8");
}

#[test]
fn too_few_backends() {
    assert_left_out_until_there_is_room("over-backends", "--max-backends", "8", "64");
}

/// There is room for twice as many addresses as Service ports.
#[test]
fn too_few_frontends() {
    let (mut web, mut big) = too_small("over-frontends", &["--max-services", "2"]);
    big.endpoints.truncate(3);
    assert_eq!(problems(&web), Vec::<Value>::new(), "one address each");
    let external: Vec<_> = (1..=3).map(|last| format!("192.0.2.{last}")).collect();
    web.manifests.write(&big.with("externalIPs", external.into())).expect("written");
    let deadline = Instant::now() + Duration::from_secs(10);
    let problem = loop {
        assert!(Instant::now() < deadline, "it is not told");
        if let Some(problem) = problems(&web).pop() {
            break problem;
        }
    };
    assert!(problem["object"].as_str().expect("text").contains("default/zig"), "{problem}");
    let message = problem["message"].as_str().expect("text");
    assert!(message.contains("4 addresses of each family") && message.contains("--max-services"));

    let held = Connections::open(web.client.place(), (VIP, 80), 4).opened((VIP, 80));
    let counts = web.counts();
    assert!(web.agent.terminate().expect("terminated").success());
    let enough = ["--max-services", "3"];
    web.agent = Agent::start(&web.lab, web.manifests.dir(), &enough).expect("agent");
    assert_eq!(problems(&web), Vec::<Value>::new(), "now there are six");
    assert_eq!(web.counts(), counts);
    let external: SocketAddr = "192.0.2.3:80".parse().expect("an address");
    let external = dial(web.client.place(), external);
    assert_eq!(external["error"], Value::Null, "{external}");
    drop(held);
}

#[test]
fn too_few_slots() {
    assert_left_out_until_there_is_room("over-slots", "--max-slots", "8", "64");
}

/// Sockets chosen to take the room of a neighbour's next connections, by somebody who knows the code
/// and all cookies, with the key of the table and without.
#[test]
fn sockets_chosen_by_their_cookies_refuse_no_more_than_chance() {
    let web = Web::start("over-crowd", 1);
    let dns = Service::new("dns", CROWD, 53, 53, [address(1)]).udp();
    web.manifests.write(&dns).expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    let charges = web.lab.bpffs().join(format!("balancer/v{LAYOUT_VERSION}/maps/CHARGES"));
    let charges = MapData::from_pin(charges).expect("map");
    let charges = Slab::map(charges.fd(), ALL_WORDS as usize * 8).expect("mapped");
    let key = [0, 1, 2].map(|word| charges.get64((KEY + word) as usize * 8));
    assert!(key.iter().all(|word| *word != 0), "{key:?}");
    let crowd = |key: &[u64]| -> Value {
        let mut command = Lab::self_command(web.client.place()).expect("balancer-lab");
        command.args(["crowd", &format!("{CROWD}:53"), &format!("{VIP}:80")]);
        if !key.is_empty() {
            command.arg("--key").args(key.iter().map(u64::to_string));
        }
        let output = command.output().expect("run");
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {failed}"))
    };
    let guessed = crowd(&[]);
    println!("without the key: {guessed}");
    assert!(guessed["held"].as_u64().is_some_and(|held| held > 8_000), "{guessed}");
    // Chance fills a home and all that it may spill to now and then: it is no more than that.
    assert!(guessed["refused"].as_u64().is_some_and(|refused| refused <= 4), "{guessed}");
    await_none(&web.agent);
    let known = crowd(&key);
    println!("with the key: {known}");
    assert!(known["refused"].as_u64().is_some_and(|refused| refused > 150), "{known}");
    await_none(&web.agent);
}
