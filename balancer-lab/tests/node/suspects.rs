//! Backends that have just failed get no connection while others answer.

use std::{
    net::SocketAddr,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use crate::common::{self, Connection, Connections, VIP, Web, address, dial, pools::pools, serve};
use balancer_lab::{Pod, http, manifests::Service};
use serde_json::{Value, json};

const POLICIES: [&str; 5] =
    ["least-connections", "weighted-least-connections", "power-of-two", "round-robin", "random"];

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

/// The state of each backend, by its place, and how often it became suspect.
fn states(web: &Web) -> Vec<(String, u64)> {
    let shown = web.shown("default/web");
    let backends = shown["backends"].as_array().expect("backends").iter();
    let state = |b: &Value| b["state"].as_str().expect("text").to_owned();
    backends.map(|b| (state(b), b["suspected_total"].as_u64().expect("a number"))).collect()
}

/// Dials one after another; says how many failed, and for how long it went on.
fn dials(web: &Web, count: usize) -> (usize, Duration) {
    let started = Instant::now();
    let failed = (0..count).filter(|_| !dial(web.client.place(), vip())["error"].is_null()).count();
    (failed, started.elapsed())
}

/// How often a backend may have been met within a time: at first, and after each pause.
fn most(time: Duration) -> usize {
    let mut pause = Duration::from_millis(250);
    let (mut met, mut passed) = (1, pause);
    while passed <= time {
        met += 1;
        pause *= 2;
        passed += pause;
    }
    met
}

/// Dials until a backend is in a state.
fn dial_until(web: &Web, backend: usize, state: &str, within: Duration) {
    let started = Instant::now();
    while states(web)[backend].0 != state {
        assert!(started.elapsed() < within, "{:?}", states(web));
        dial(web.client.place(), vip());
    }
}

/// Has what a pod sends to the client vanish, its answers to a SYN among it.
fn silence(web: &Web, pod: &Pod) {
    let client = format!("{}/32", web.client.ip());
    let status = pod.command("ip").args(["route", "add", "blackhole", &client]).status();
    assert!(status.expect("iproute2").success());
}

#[test]
fn a_backend_that_refuses_is_passed_over_by_every_policy() {
    let mut web = Web::start("suspect", 3);
    web.servers.pop();
    let held = Connections::open(web.client.place(), vip(), 3);
    for policy in POLICIES {
        let annotated = |service: Service| service.annotated("balancer-agent/policy", policy);
        web.change(annotated, |shown| shown["policy"] == policy);
        let (failed, time) = dials(&web, 40);
        assert!(failed <= most(time), "{policy}: {failed} of 40 failed in {time:?}");
    }
    let states = states(&web);
    assert_eq!([&*states[0].0, &*states[1].0, &*states[2].0], ["ready", "ready", "suspect"]);
    assert_eq!((states[0].1, states[1].1, states[2].1), (0, 0, 1), "once, and since then");
    let metrics = web.agent.metrics().expect("metrics");
    let line = |name: &str| {
        let of = |line: &&str| line.starts_with(name) && line.contains("10.244.0.3:8080");
        metrics.lines().find(of).unwrap_or_else(|| panic!("no {name} in {metrics}")).to_owned()
    };
    assert!(line("balancer_backend_suspect{").ends_with(" 1"));
    assert!(line("balancer_backend_suspected_total{").ends_with(" 1"));
    drop(held);
}

#[test]
fn one_connection_at_a_time_tries_it_and_one_that_is_established_ends_it() {
    let mut web = Web::start("suspect-trial", 2);
    web.servers.pop();
    dial_until(&web, 1, "suspect", Duration::from_secs(5));
    // The pause, after which somebody may try it.
    thread::sleep(Duration::from_millis(300));
    let at_once = Connections::open_at_once(web.client.place(), vip(), 20);
    let failed = at_once.said.iter().filter(|said| !said["error"].is_null()).count();
    assert!(failed <= 1, "{failed} of 20: {:?}", at_once.said);
    drop(at_once);
    assert_eq!(states(&web)[1].0, "suspect");
    web.servers.push(serve(&web.backends[1]));
    dial_until(&web, 1, "ready", Duration::from_secs(10));
    let held = Connections::open(web.client.place(), vip(), 10).opened(vip());
    assert_eq!(web.counts(), [5, 5], "the bit is gone from the counter");
    drop(held);
}

#[test]
fn it_holds_without_an_agent_and_is_shown_from_the_maps() {
    let mut web = Web::start("suspect-alone", 2);
    web.servers.pop();
    web.agent.kill().expect("killed");
    let held = Connections::open(web.client.place(), vip(), 2);
    let (failed, time) = dials(&web, 40);
    assert!(failed <= most(time), "{failed} of 40 failed in {time:?}");
    assert_eq!(states(&web)[1], ("suspect".to_owned(), 1));
    // The next agent finds it so.
    web.agent.launch().expect("started");
    assert_eq!(states(&web)[1], ("suspect".to_owned(), 1));
    web.servers.push(serve(&web.backends[1]));
    dial_until(&web, 1, "ready", Duration::from_secs(30));
    drop(held);
}

#[test]
fn a_backend_that_does_not_answer_is_passed_over_once_a_syn_was_sent_again() {
    let web = Web::start("suspect-silent", 2);
    silence(&web, &web.backends[1]);
    let try_for = |ms: &str| {
        let flags = ["--timeout-ms", ms];
        Connection::open_with(web.client.place(), vip(), &flags).said["error"].is_null()
    };
    // The other one has a connection, so that each of the next goes to the silent one. A program that
    // gives up early says nothing of the backend.
    let mut tries =
        (0..20).map(|_| Connection::open_with(web.client.place(), vip(), &["--timeout-ms", "200"]));
    let _held = tries.find(|one| one.said["error"].is_null()).expect("one of two answers");
    assert!(!try_for("300"));
    assert_eq!(states(&web)[1], ("ready".to_owned(), 0));
    assert!(!try_for("1500"), "the SYN is sent again after a second");
    assert_eq!(states(&web)[1], ("suspect".to_owned(), 1));
    let answered = (0..20).filter(|_| try_for("200")).count();
    assert!(answered >= 17, "{answered} of 20");
}

#[test]
fn all_suspect_backends_of_a_row_are_chosen_as_if_none_were() {
    let mut web = Web::start("suspect-all", 2);
    web.servers.clear();
    assert_eq!(dials(&web, 10).0, 10);
    assert_eq!(
        states(&web).into_iter().map(|(state, _)| state).collect::<Vec<_>>(),
        ["suspect"; 2]
    );
    web.servers.extend(web.backends.iter().map(serve));
    assert_eq!(dials(&web, 10).0, 0, "nobody waits for a pause");
}

#[test]
fn a_service_may_keep_its_suspects() {
    let mut web = Web::start("suspect-off", 2);
    let off = |service: Service| service.annotated("balancer-agent/suspect", "off");
    web.servers.pop();
    // Seen by what follows alone: the agent does not show the annotation.
    web.service = off(web.service.clone());
    web.manifests.write(&web.service).expect("written");
    let marker = |service: Service| service.annotated("balancer-agent/slow-start", "1s");
    web.change(marker, |shown| shown["slow_start_s"] == 1);
    let held: Vec<_> =
        (0..8).map(|_| Connection::open_with(web.client.place(), vip(), &[])).collect();
    assert!(held.iter().any(|one| one.said["error"].is_null()));
    assert_eq!(dials(&web, 20).0, 20, "the one that refuses has the fewest");
    assert_eq!(states(&web)[1], ("ready".to_owned(), 0));
}

#[test]
fn a_client_leaves_the_backend_it_was_pinned_to() {
    let mut web = Web::start("suspect-pin", 2);
    web.change(
        |service| service.with("sessionAffinity", json!("ClientIP")),
        |shown| shown["affinity_s"] == 10_800,
    );
    assert_eq!(dials(&web, 4).0, 0);
    let pinned = web.opened().iter().position(|opened| *opened == 4).expect("one has all");
    let server = web.servers.remove(pinned);
    drop(server);
    assert_eq!(dials(&web, 1).0, 1, "nobody knows yet");
    let (failed, time) = dials(&web, 20);
    assert!(failed < most(time), "{failed} of 20 failed in {time:?}");
    // It stays where it went.
    let kept = web.opened()[1 - pinned];
    assert!(kept >= 17, "{:?}", web.opened());
}

#[test]
fn no_connection_is_moved_to_a_backend_that_refuses() {
    let mut web = Web::start("suspect-moves", 2);
    let dead = web.lab.pod("dead", address(3)).expect("a pod without a server");
    let endpoints = |numbers: &[u8]| {
        let service = Service::new("web", VIP, 80, 8080, numbers.iter().map(|n| address(*n)));
        service.annotated("balancer-agent/rebalance", "true")
    };
    web.change(|_| endpoints(&[1, 2]), |shown| common::in_use(shown) == [1, 2]);
    let mut client = pools(&web, 12, Duration::from_secs(9));
    let deadline = Instant::now() + Duration::from_secs(5);
    while web.counts() != [6, 6] {
        assert!(Instant::now() < deadline, "{:?}", web.counts());
    }
    web.change(|_| endpoints(&[1, 2, 3]), |shown| common::in_use(shown) == [1, 2, 3]);
    let report = client.report().expect("report");
    // One round of moves is four; each of its clients may meet the dead one, once.
    assert!(report.errors <= 4, "{report:?}");
    assert!(report.connections() <= 16, "what was moved once is left alone: {report:?}");
    drop(dead);
}

/// One after another: least connections with weights, and a canary that is new.
#[test]
fn shares_hold_where_connections_come_one_after_another() {
    let mut web = Web::start("low-load", 2);
    web.change(
        |service| {
            let weights = format!("address/{}=3,address/{}=1", address(1), address(2));
            let policy = "weighted-least-connections";
            let service = service.annotated("balancer-agent/policy", policy);
            service.annotated("balancer-agent/weights", &weights)
        },
        |shown| shown["policy"] == "weighted-least-connections",
    );
    let mut command = balancer_lab::Lab::self_command(web.client.place()).expect("balancer-lab");
    command.args(["connect", &vip().to_string(), "--one-by-one", "--count", "400"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("run");
    assert!(output.status.success());
    let opened = web.opened();
    // Three standard deviations of 400 draws with a chance of a quarter are 26.
    assert!((270..=330).contains(&opened[0]) && opened.iter().sum::<u64>() == 400, "{opened:?}");
}

/// So many connections, each closed before the next; how many failed.
fn one_by_one(web: &Web, target: SocketAddr, count: usize) -> usize {
    let mut command = balancer_lab::Lab::self_command(web.client.place()).expect("balancer-lab");
    command.args(["connect", &target.to_string(), "--one-by-one", "--count", &count.to_string()]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("run");
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.lines().count(), count);
    said.lines().filter(|line| line.contains("error")).count()
}

/// A firewall says so with ICMP and no segment.
#[test]
fn a_backend_that_a_firewall_rejects_is_passed_over() {
    let web = Web::start("suspect-icmp", 2);
    let rules = "add table ip refuse; \
                 add chain ip refuse input { type filter hook input priority 0; }; \
                 add rule ip refuse input tcp dport 8080 reject with icmp type port-unreachable";
    let done = web.backends[1].command("nft").arg(rules).status();
    assert!(done.expect("nftables").success());
    // What it sends is delayed once 150 bytes are spent, as on the way from another node. Within
    // `connect()` the kernel takes an error as no more than a hint.
    let slow = "qdisc add dev eth0 root tbf rate 16kbit burst 150 latency 200ms";
    let done = web.backends[1].command("tc").args(slow.split(' ')).status();
    assert!(done.expect("iproute2").success());
    let mut tries = (0..20).map(|_| Connection::open_with(web.client.place(), vip(), &[]));
    let _held = tries.find(|one| one.said["error"].is_null()).expect("one of two answers");
    // All are given up before any SYN is sent again.
    dial_until(&web, 1, "suspect", Duration::from_secs(5));
    assert_eq!(states(&web)[1].1, 1);
    assert!(dials(&web, 3).0 <= 1, "no more than a trial");
}

#[test]
fn what_fails_on_this_node_is_nobodys_fault() {
    let web = Web::start("suspect-own", 1);
    let route = format!("{}/32", web.backends[0].ip());
    let done = web.client.command("ip").args(["route", "add", "unreachable", &route]).status();
    assert!(done.expect("iproute2").success());
    assert!(!dial(web.client.place(), vip())["error"].is_null());
    assert_eq!(states(&web)[0], ("ready".to_owned(), 0), "nothing was sent");
}

/// More backends than are scanned: some of those that failed are beyond the first 1,024.
#[test]
fn no_suspect_of_a_long_row_is_forgotten() {
    let web = Web::start("suspect-long", 0);
    // All of this network are addresses of the client itself.
    let addresses = (0..1_100_u16).map(|n| [127, 1, (n >> 8) as u8, n as u8]);
    let vip = SocketAddr::from(([10, 96, 0, 11], 80));
    let long = Service::new("long", vip.ip(), 80, 8080, addresses);
    web.manifests.write(&long).expect("written");
    common::await_shown(&web.agent, |all| {
        all.iter().any(|s| s["name"] == "long" && common::in_use(s).len() == 1_100)
    });
    let suspects = || {
        let shown = web.shown("default/long");
        let backends = shown["backends"].as_array().expect("backends").iter();
        backends.filter(|backend| backend["state"] == "suspect").count()
    };
    assert_eq!(one_by_one(&web, vip, 200), 200, "nobody listens");
    let before = suspects();
    assert!(before >= 150, "{before}");
    let all = [SocketAddr::from(([0, 0, 0, 0], 8080))];
    let _server = http::Server::start(web.client.place(), "all", &all).expect("server");
    thread::sleep(Duration::from_millis(300));
    let deadline = Instant::now() + Duration::from_secs(20);
    while suspects() > 0 {
        assert!(Instant::now() < deadline, "{} of {before} are suspect still", suspects());
        assert_eq!(one_by_one(&web, vip, 100), 0);
    }
}

/// Connections one after another, over the slow start of a backend that joins.
#[test]
fn a_slow_start_rises_where_connections_come_one_after_another() {
    const WINDOW: Duration = Duration::from_secs(5);
    let mut web = Web::start("low-load-slow", 2);
    let second = web.service.endpoints.pop().expect("two");
    let slow = |service: Service| service.annotated("balancer-agent/slow-start", "5s");
    web.change(slow, |shown| common::in_use(shown) == [1]);
    // Else the first one was new as well.
    thread::sleep(WINDOW);
    let add = |mut service: Service| {
        service.endpoints.push(second);
        service
    };
    let added = Instant::now();
    web.change(add, |shown| common::in_use(shown) == [1, 2]);
    // Connections, and those of them that the second got, in each tenth of the time.
    let mut tenths = [(0_u64, 0_u64); 10];
    let mut opened = web.opened();
    loop {
        let tenth = added.elapsed().div_duration_f64(WINDOW / 10) as usize;
        let Some((all, new)) = tenths.get_mut(tenth) else { break };
        assert_eq!(one_by_one(&web, vip(), 20), 0);
        let now = web.opened();
        *all += now.iter().sum::<u64>() - opened.iter().sum::<u64>();
        *new += now[1] - opened[1];
        opened = now;
    }
    let share = |tenths: &[(u64, u64)]| {
        let sum = |of: fn(&(u64, u64)) -> u64| tenths.iter().map(of).sum::<u64>();
        sum(|tenth| tenth.1) as f64 / sum(|tenth| tenth.0) as f64
    };
    // By weight they would be 0.09 to 0.23, 0.23 to 0.41, and 0.41 to a half.
    let parts = [share(&tenths[..3]), share(&tenths[3..7]), share(&tenths[7..])];
    assert!(parts[0] > 0.02 && parts.is_sorted() && parts[2] < 0.6, "{parts:?} of {tenths:?}");
    assert!(parts[0] < 0.3 && parts[2] > 0.35, "{parts:?} of {tenths:?}");
}
