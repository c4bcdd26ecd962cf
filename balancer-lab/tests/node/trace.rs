//! What programs tell while somebody reads it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use aya::{
    Pod,
    maps::{Array, Map, MapData},
};
use balancer_lab::{Place, manifests::Service};
use serde_json::{Value, json};

use crate::common::{
    Connections, VIP, Web, address, await_shown,
    clients::{Client, pod_object, tell},
    dial,
    trace::Trace,
};

/// The bit by which programs know that somebody reads (`balancer_common::layout::TRACED`).
const TRACED: u64 = 1 << 31;
/// A Service of UDP.
const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);
/// After so long without a line nothing more comes.
const QUIET: Duration = Duration::from_secs(3);

/// A client whose pod the agent knows.
fn client(web: &Web) -> Client {
    let client = Client::start(web, 201);
    tell(web, &[pod_object(201, None)]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while web.agent.json(&["explain", "10.96.0.10:80", "--pod", "client-201"]).is_err() {
        assert!(Instant::now() < deadline, "the pod is not seen");
    }
    client
}

/// The only element of a map of the agent's.
fn element<T: Pod>(web: &Web, map: &str) -> T {
    let pin = web.lab.bpffs().join("balancer");
    let version = std::fs::read_dir(pin).expect("pins").flatten().next().expect("a version");
    let map = MapData::from_pin(version.path().join("maps").join(map)).expect("a pin");
    let map: Array<_, T> = Array::try_from(Map::Array(map)).expect("an array");
    map.get(&0, 0).expect("an element")
}

/// The word that programs read.
fn control(web: &Web) -> u64 {
    element(web, "CONTROL")
}

/// The window of the budget, and the events in it (`balancer_common::layout::Trace::window`).
fn window(web: &Web) -> (u64, u64) {
    let [_, window, ..] = element::<[u64; 8]>(web, "TRACE");
    (window >> 32, window & u64::from(u32::MAX))
}

/// Runs a script of bash in a place; its output.
fn bash(place: &Place, script: &str) -> String {
    let mut command: Command = place.command("bash");
    let output = command.args(["-c", script]).output().expect("bash");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// The numbers of a choice.
fn numbers(line: &Value) -> [u64; 4] {
    ["active", "least", "tied", "usable"].map(|name| line["choice"][name].as_u64().expect(name))
}

#[test]
fn choices_are_told_with_their_reason() {
    let web = Web::start("trace-choice", 3);
    let client = client(&web);
    let trace = Trace::start(&web.agent, &["default/web"]);
    let held = Connections::open(client.pod.place(), (VIP, 80), 4).opened((VIP, 80));
    let lines: Vec<_> = (0..4).map(|_| trace.next()).collect();
    let why: Vec<_> = lines.iter().map(|line| line["choice"]["why"].as_str()).collect();
    assert_eq!(why, [Some("tie"), Some("tie"), Some("least"), Some("tie")], "{lines:#?}");
    let told: Vec<_> = lines.iter().map(numbers).collect();
    assert_eq!(told, [[0, 0, 3, 3], [0, 0, 2, 3], [0, 0, 1, 3], [1, 1, 3, 3]]);
    let mut backends: Vec<_> = lines[..3].iter().map(|l| l["backend"]["address"].clone()).collect();
    backends.sort_by_key(ToString::to_string);
    assert_eq!(backends, [1, 2, 3].map(|number| json!(address(number))));
    for line in &lines {
        assert_eq!(line["event"], "dialled");
        assert_eq!((&line["verdict"], &line["errno"]), (&json!("balanced"), &Value::Null));
        assert_eq!(line["pod"], json!({"namespace": "default", "name": "client-201"}));
        assert_eq!(line["command"], "balancer-lab");
        assert_eq!(line["dialled"], json!({"address": VIP, "port": 80}));
        assert_eq!(line["service"], "web");
    }
    drop(held);
    let end = trace.next();
    assert_eq!((&end["event"], &end["reason"]), (&json!("ended"), &json!("client-closed")));
    assert_eq!(end["pod"]["name"], "client-201");
    assert_eq!(end["pid"], lines[0]["pid"]);
}

#[test]
fn refusals_and_failures_are_told_with_their_errno() {
    let mut web = Web::start("trace-errors", 1);
    let nobody = Ipv4Addr::new(10, 96, 0, 12);
    web.manifests
        .write(&Service::new("empty", nobody, 80, 8080, [] as [Ipv4Addr; 0]))
        .expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    let errors = Trace::start(&web.agent, &["--errors"]);
    let verdict = Trace::start(&web.agent, &["--verdict", "no-endpoint", "--max-events", "1"]);
    let passed = Trace::start(&web.agent, &["--verdict", "not-service"]);
    let place = web.client.place();
    assert_eq!(dial(place, (VIP, 80))["error"], Value::Null);
    assert_eq!(dial(place, (nobody, 80))["errno"], 111);
    for line in [errors.next(), verdict.next()] {
        assert_eq!(
            (&line["verdict"], &line["errno"]),
            (&json!("no-endpoint"), &json!("ECONNREFUSED"))
        );
        assert_eq!((&line["service"], &line["choice"]), (&json!("empty"), &Value::Null));
    }
    assert!(verdict.ended().success(), "it has seen as many as it wanted");

    // Nobody listens there any more.
    web.servers.clear();
    assert_eq!(dial(place, (VIP, 80))["errno"], 111);
    let line = errors.next();
    assert_eq!((&line["event"], &line["reason"]), (&json!("ended"), &json!("refused")), "{line:#}");
    assert_eq!((&line["errno"], &line["service"]), (&json!("ECONNREFUSED"), &json!("web")));

    dial(place, (address(1), 9));
    let line = passed.next();
    assert_eq!(line["verdict"], "not-service");
    assert_eq!(line["dialled"], json!({"address": address(1), "port": 9}));
    assert_eq!(errors.rest(Duration::from_millis(500)), [] as [Value; 0], "nothing else failed");
}

#[test]
fn ends_are_told_with_age_bytes_and_who_closed() {
    let web = Web::start("trace-ends", 1);
    let trace = Trace::start(&web.agent, &["--backend", "10.244.0.1:8080"]);
    let request = "printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'";
    let script = format!("exec 3<>/dev/tcp/{VIP}/80; {request} >&3; cat <&3 | wc -c");
    let received: u64 = bash(web.client.place(), &script).parse().expect("a number");
    let sent: u64 = bash(web.client.place(), &format!("{request} | wc -c")).parse().expect("bytes");
    let line = trace.next_of("ended");
    assert_eq!(line["reason"], "server-closed", "{line:#}");
    assert_eq!((&line["bytes_sent"], &line["bytes_received"]), (&json!(sent), &json!(received)));
    assert_eq!(line["client"]["address"], json!(address(200)));
    assert!(line["age_ms"].as_u64().is_some_and(|age| age < 60_000), "{line:#}");

    // It leaves unread what it was sent.
    let request = "printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'";
    let script = format!("exec 3<>/dev/tcp/{VIP}/80; {request} >&3; read -N 1 <&3; sleep 0.3");
    bash(web.client.place(), &script);
    let line = trace.next_of("ended");
    assert_eq!(line["reason"], "client-reset", "{line:#}");
    assert!(line["age_ms"].as_u64().is_some_and(|age| age >= 200), "{line:#}");
}

#[test]
fn what_the_agent_ends_is_told_as_that() {
    let web = Web::start("trace-agent", 2);
    let trace = Trace::start(&web.agent, &["default/web"]);
    let _held = Connections::open(web.client.place(), (VIP, 80), 1).opened((VIP, 80));
    let backend = trace.next_of("dialled")["backend"]["address"].clone();
    let backend = backend.as_str().expect("an address");
    web.agent.cli(&["drain", backend, "--timeout", "1s"]).expect("drained");
    let line = trace.next_of("ended");
    assert_eq!((&line["reason"], &line["errno"]), (&json!("drain"), &Value::Null), "{line:#}");
    assert_eq!(line["backend"]["address"], backend);
}

#[test]
fn a_connection_takes_three_events_of_the_budget() {
    let web = Web::start("trace-budget", 1);
    let trace = Trace::start(&web.agent, &["default/web"]);
    let closed = || {
        assert_eq!(dial(web.client.place(), (VIP, 80))["error"], Value::Null);
        trace.next_of("ended");
        window(&web)
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // The first one opens a window. Another one may have begun since.
        let (before, after) = (closed(), closed());
        if before.0 == after.0 {
            assert_eq!(after.1 - before.1, 3, "its choice, its end, and how that came");
            break;
        }
        assert!(Instant::now() < deadline, "no window has room for two connections");
    }
}

/// Connects so many UDP sockets.
fn flood(web: &Web, count: usize) {
    Connections::start_many(web.client.place(), SocketAddr::from((DNS, 53)), count, true)
        .opened(count);
}

fn dropped(lines: &[Value], what: &str) -> u64 {
    lines.iter().filter_map(|line| line[what].as_u64()).sum()
}

fn told(lines: &[Value]) -> u64 {
    lines.iter().filter(|line| line["event"] == "dialled").count() as u64
}

#[test]
fn what_is_not_told_in_a_flood_is_counted_and_a_slow_reader_holds_up_nobody() {
    const FLOOD: usize = 15_000;
    let web = Web::start("trace-flood", 1);
    let dns = Service::new("dns", DNS, 53, 53, [address(1)]).udp();
    web.manifests.write(&dns).expect("written");
    await_shown(&web.agent, |all| all.len() == 2);
    // Of ends nothing is told: choices alone can be added up.
    let flags = ["--service", "default/dns", "--verdict", "balanced"];
    let reads = Trace::start(&web.agent, &flags);
    let stopped = Trace::start(&web.agent, &flags);
    stopped.stop();
    let mut lines = Vec::new();
    for _ in 0..2 {
        flood(&web, FLOOD);
        lines.extend(reads.rest(QUIET));
        let status = web.agent.json(&["status"]).expect("the agent is not held up");
        assert_eq!(status["problems"], json!([]));
    }
    let all = ["capped", "full", "behind"].map(|what| dropped(&lines, what));
    assert!(all[0] > 0, "more than the budget: {all:?}");
    assert!(told(&lines) >= 5_000, "{} were told, {all:?} not", told(&lines));
    assert_eq!(told(&lines) + all.iter().sum::<u64>(), 2 * FLOOD as u64, "{all:?}");

    stopped.go_on();
    let late = stopped.rest(QUIET);
    let missed = ["capped", "full", "behind"].map(|what| dropped(&late, what));
    assert!(missed[2] > 0, "it has missed nothing: {missed:?}, {} told", told(&late));
    assert_eq!(told(&late) + missed.iter().sum::<u64>(), 2 * FLOOD as u64, "{missed:?}");
}

#[test]
fn programs_tell_nothing_once_nobody_reads() {
    let mut web = Web::start("trace-off", 1);
    assert_eq!(control(&web) & TRACED, 0);
    let (one, two) = (Trace::start(&web.agent, &[]), Trace::start(&web.agent, &[]));
    drop(one);
    dial(web.client.place(), (VIP, 80));
    assert_eq!(two.next_of("dialled")["service"], "web", "another one still reads");
    assert_ne!(control(&web) & TRACED, 0);
    drop(two);
    let deadline = Instant::now() + Duration::from_secs(10);
    while control(&web) & TRACED != 0 {
        assert!(Instant::now() < deadline, "the last reader has gone");
    }

    // An agent that dies can't switch anything off: programs do.
    let trace = Trace::start(&web.agent, &[]);
    web.agent.kill().expect("killed");
    assert_eq!(trace.ended().code(), Some(3));
    assert_ne!(control(&web) & TRACED, 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    while control(&web) & TRACED != 0 {
        assert_eq!(dial(web.client.place(), (VIP, 80))["error"], Value::Null);
        assert!(Instant::now() < deadline, "the switch has not gone off");
    }
    web.agent.resume().expect("the next agent starts");
    let trace = Trace::start(&web.agent, &["--timeout", "30s", "--max-events", "2"]);
    dial(web.client.place(), (VIP, 80));
    assert_eq!(
        (&trace.next()["event"], &trace.next()["event"]),
        (&json!("dialled"), &json!("ended"))
    );
    assert!(trace.ended().success());
}
