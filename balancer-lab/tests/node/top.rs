//! `top`, `clients` and `--watch` with real connections.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Duration,
};

use balancer_lab::http::{Client, LoadOptions, Pools, Until};
use serde_json::Value;

use crate::common::{Connections, VIP, Web, connections::listed};

/// Two clients that send until they are released, with this pause after each answer.
fn sending(web: &Web, pace: Duration) -> Client {
    let uri = format!("http://{VIP}/").parse().expect("uri");
    let options =
        LoadOptions { pace, ..LoadOptions::new(uri, 2, Pools::PerThread, Until::Forever) };
    let mut client = Client::start(web.client.place(), &options).expect("client");
    client.go().expect("told");
    client
}

fn looked(web: &Web) -> Value {
    let arguments = ["top", "--once", "--interval", "3s", "default/web"];
    let view = web.agent.json(&arguments).expect("top");
    assert_eq!(view["services"].as_array().map(Vec::len), Some(1), "{view}");
    view["services"][0].clone()
}

/// Four backends have a connection each, and two of them nearly all that is sent.
#[test]
fn equal_counts_with_unequal_load_are_told_with_and_without_an_agent() {
    let mut web = Web::start("top", 4);
    let _busy = sending(&web, Duration::from_millis(2));
    let _lazy = sending(&web, Duration::from_millis(200));
    crate::common::await_shown(&web.agent, |all| {
        let backends = all[0]["backends"].as_array().expect("backends").iter();
        backends.filter(|backend| backend["active"] == 1).count() == 4
    });
    for is_there in [true, false] {
        let service = looked(&web);
        assert_eq!((&service["connections"], &service["skew"]), (&4.into(), &1.0.into()));
        assert_eq!((&service["least"], &service["most"]), (&1.into(), &1.into()));
        let rate_skew = service["rate_skew"].as_f64().expect("two looks at each connection");
        // The two that are busy have about twice the mean.
        assert!((1.5..=2.6).contains(&rate_skew), "{service}");
        let rates = service["backends"].as_array().expect("backends").iter();
        let rates: Vec<_> = rates.map(|b| b["rate"].as_f64().expect("a rate")).collect();
        assert!(rates.iter().all(|rate| *rate > 0.0), "{rates:?}");
        let sum: f64 = rates.iter().sum();
        assert!((sum - service["rate"].as_f64().expect("a rate")).abs() < 1.0, "{service}");
        let moved = if is_there { Value::from(0) } else { Value::Null };
        assert_eq!(service["moved"], moved, "{service}");
        if is_there {
            web.agent.kill().expect("killed");
        }
    }
}

/// What is opened and closed between two looks, and what fails.
#[test]
fn rates_are_those_between_two_looks() {
    let web = Web::start("top-rates", 2);
    let uri = format!("http://{VIP}/").parse().expect("uri");
    let options = LoadOptions {
        pace: Duration::from_millis(20),
        ..LoadOptions::new(uri, 2, Pools::None, Until::Forever)
    };
    let mut client = Client::start(web.client.place(), &options).expect("client");
    client.go().expect("told");
    let service = looked(&web);
    let number = |name: &str| service[name].as_f64().expect(name);
    // Each of two threads opens one, asks, closes and waits for 20 ms.
    let (opened, closed) = (number("opened_per_s"), number("closed_per_s"));
    assert!((10.0..=100.0).contains(&opened), "{service}");
    assert!((opened - closed).abs() < 3.0, "each is closed: {service}");
    assert_eq!(service["failed_per_s"], 0.0, "{service}");
}

#[test]
fn clients_are_counted_by_pod_and_by_address_without_an_agent() {
    let mut web = Web::start("clients", 3);
    let target = (VIP, 80);
    let open = Connections::open(web.client.place(), target, 5).opened(target);
    let clients = |web: &Web| web.agent.json(&["clients", "default/web"]).expect("clients");
    for is_there in [true, false] {
        let shown = clients(&web);
        assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
        let client = &shown[0];
        assert_eq!((&client["connections"], &client["backends"]), (&5.into(), &3.into()));
        assert_eq!(client["address"], "10.244.0.200");
        let service = &client["services"][0];
        assert_eq!((&service["service"], &service["connections"]), (&"web".into(), &5.into()));
        if is_there {
            web.agent.kill().expect("killed");
        }
    }
    drop(open);
    assert_eq!(clients(&web), Value::Array(Vec::new()));
}

/// Who looks again and again without an agent has one process that asks about sockets, not one for each
/// look.
#[test]
fn a_list_that_is_watched_without_an_agent_starts_one_process() {
    let mut web = Web::start("watch-maps", 1);
    web.agent.kill().expect("killed");
    let mut command = web.agent.cli_command(&["connections", "--watch", "--no-headers"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(Connections::open(web.client.place(), (VIP, 80), 1).opened((VIP, 80)));
        let line = lines.next().expect("a line").expect("text");
        assert!(line.contains("added"), "{line}");
    }
    let pid = child.id();
    let below = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let below = below.expect("a process");
    assert_eq!(below.split_whitespace().count(), 1, "{below}");
    drop(lines);
    assert!(child.wait().expect("its end").success());
}

/// Of many connections the same ones are looked at, and of each backend.
#[test]
fn a_limit_leaves_the_same_connections_at_each_look() {
    let web = Web::start("limit", 3);
    let target = (VIP, 80);
    let _open = Connections::open(web.client.place(), target, 60).opened(target);
    assert_eq!(listed(&web, &[]).len(), 60);
    let socket = web.agent.where_flags()[1].clone();
    let look = || {
        let url = "http://agent/v1/connections?limit=30";
        let mut curl = std::process::Command::new("curl");
        let output = curl.args(["-s", "--unix-socket", &socket, url]).output().expect("curl");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let clients = |seen: &Value| {
        let seen = seen.as_array().expect("an array").iter();
        let mut ports: Vec<_> = seen.map(|c| c["client"]["port"].as_u64()).collect();
        ports.sort_unstable();
        ports
    };
    let first = clients(&look());
    assert_eq!(first.len(), 30);
    assert_eq!(clients(&look()), first);
}

#[test]
fn a_watched_list_appends_what_comes_and_goes() {
    let web = Web::start("watch", 1);
    let mut command = web.agent.cli_command(&["connections", "--watch", "--no-headers"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    let target = (VIP, 80);
    let open = Connections::open(web.client.place(), target, 1).opened(target);
    let added = next();
    assert!(added.contains("added") && added.contains("10.244.0.200:"), "{added}");
    drop(open);
    let gone = next();
    assert!(gone.contains("gone") && gone.contains("10.244.0.200:"), "{gone}");
    drop(lines);
    assert!(child.wait().expect("its end").success());
}
