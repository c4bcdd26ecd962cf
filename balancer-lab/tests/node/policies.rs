//! How a backend is chosen: every policy, weights and the slow start, with real sockets.

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use crate::common::{self, Connections, VIP, Web, address, await_shown, in_use};
use balancer_lab::{
    Pod,
    http::Server,
    manifests::{Endpoint, Service},
    sockets::open_by_peer,
};
use serde_json::{Value, json};

const POLICY: &str = "balancer-agent/policy";
const WEIGHTS: &str = "balancer-agent/weights";
const SLOW_START: &str = "balancer-agent/slow-start";

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

/// A Service with a policy.
fn start(name: &str, backends: u8, policy: &str) -> Web {
    let mut web = Web::start(name, backends);
    set_policy(&mut web, policy);
    web
}

fn set_policy(web: &mut Web, policy: &str) {
    web.change(|service| service.annotated(POLICY, policy), |shown| shown["policy"] == policy);
}

/// Gives weights to the backends, in their order.
fn set_weights(web: &mut Web, weights: &[u16]) {
    let rules: Vec<_> =
        (1..).zip(weights).map(|(n, weight)| format!("address/{}={weight}", address(n))).collect();
    let wanted: Vec<_> = weights.iter().map(|weight| json!(weight)).collect();
    web.change(
        |service| service.annotated(WEIGHTS, &rules.join(",")),
        |shown| {
            let backends = shown["backends"].as_array().expect("backends");
            backends.iter().map(|b| b["weight"].clone()).collect::<Vec<_>>() == wanted
        },
    );
}

fn open(web: &Web, count: usize) -> Connections {
    Connections::open(web.client.place(), vip(), count).opened(vip())
}

/// The kernel's sockets, by the backend that each is connected to.
fn sockets(web: &Web) -> BTreeMap<SocketAddr, u64> {
    open_by_peer(web.client.place()).expect("ss")
}

/// The backend, by its place, that one more connection goes to; and the connection.
fn next(web: &Web) -> (usize, Connections) {
    let before = web.counts();
    let connection = open(web, 1);
    let after = web.counts();
    let raised = (0..before.len()).find(|&n| after[n] == before[n] + 1);
    (raised.unwrap_or_else(|| panic!("{before:?}, then {after:?}")), connection)
}

fn chi_squared(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum()
}

#[test]
fn least_connections_is_even() {
    let web = start("least", 3, "least-connections");
    let held = open(&web, 60);
    assert_eq!(web.counts(), [20, 20, 20]);
    drop(held);
    let at_once = Connections::open_at_once(web.client.place(), vip(), 60).opened(vip());
    assert_eq!(web.counts(), [20, 20, 20]);
    drop(at_once);
}

#[test]
fn weighted_least_connections_is_shared_by_weight() {
    let mut web = start("weighted", 3, "weighted-least-connections");
    set_weights(&mut web, &[1, 2, 3]);
    let held = open(&web, 60);
    assert_eq!(web.counts(), [10, 20, 30]);
    drop(held);
    let at_once = Connections::open_at_once(web.client.place(), vip(), 60).opened(vip());
    assert_eq!(web.counts(), [10, 20, 30]);
    drop(at_once);
}

/// The most over the least is 2 to 4 for the better of two, and about 12 for the dice: over five
/// rounds, 30 and more happens to the one, and less to the other, in less than a trial of a thousand.
#[test]
fn power_of_two_is_close_to_even() {
    let web = start("pair", 8, "power-of-two");
    let gap = |_| {
        let held = open(&web, 160);
        let counts = web.counts();
        drop(held);
        assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    };
    let gaps: Vec<u64> = (0..5).map(gap).collect();
    let sum: u64 = gaps.iter().sum();
    assert!((1..30).contains(&sum), "neither exact nor the dice: {gaps:?}");
}

#[test]
fn round_robin_takes_turns_whatever_is_closed() {
    let web = start("turns", 4, "round-robin");
    let mut held: Vec<_> = (0..12).map(|_| next(&web)).collect();
    let turns: Vec<usize> = held.iter().map(|(backend, _)| *backend).collect();
    assert!(turns.iter().zip(&turns[4..]).all(|(one, later)| one == later), "{turns:?}");
    assert_eq!(web.counts(), [3, 3, 3, 3]);
    // Least connections would now give the next ones to the first backend.
    held.retain(|(backend, _)| *backend != 0);
    assert_eq!(web.counts(), [0, 3, 3, 3]);
    held.extend((0..8).map(|_| next(&web)));
    assert_eq!(web.counts(), [2, 5, 5, 5]);
    let later: Vec<usize> = held[9..].iter().map(|(backend, _)| *backend).collect();
    assert_eq!(later, turns[..8], "the rotation goes on");
}

/// Five backends, 500 connections: chi squared with 4 degrees of freedom, at one in a million.
#[test]
fn random_is_the_dice() {
    let web = start("dice", 5, "random");
    let held = open(&web, 500);
    let (counts, chi) = (web.counts(), chi_squared(&web.counts()));
    drop(held);
    assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
    assert!(chi > 0.0 && chi < 33.4, "chi squared {chi:.1}: {counts:?}");
}

#[test]
fn a_change_of_policy_moves_nothing_and_holds_for_the_next() {
    let mut web = start("policy-change", 3, "least-connections");
    let mut each: [Vec<Connections>; 3] = Default::default();
    for _ in 0..12 {
        let (backend, connection) = next(&web);
        each[backend].push(connection);
    }
    each[0].clear();
    assert_eq!(web.counts(), [0, 4, 4]);
    let before = sockets(&web);
    for policy in ["round-robin", "power-of-two", "random", "weighted-least-connections"] {
        set_policy(&mut web, policy);
        assert_eq!((web.counts(), sockets(&web)), (vec![0, 4, 4], before.clone()), "{policy}");
    }
    set_policy(&mut web, "round-robin");
    let turns = open(&web, 3);
    assert_eq!(web.counts(), [1, 5, 5]);
    set_policy(&mut web, "least-connections");
    let least = open(&web, 4);
    assert_eq!(web.counts(), [5, 5, 5]);
    drop((turns, least));
    assert_eq!(sockets(&web), before);
}

#[test]
fn a_change_of_weights_moves_nothing_and_holds_for_the_next() {
    let mut web = start("weights-change", 3, "weighted-least-connections");
    let first = open(&web, 12);
    assert_eq!(web.counts(), [4, 4, 4]);
    let before = sockets(&web);
    set_weights(&mut web, &[1, 2, 3]);
    assert_eq!((web.counts(), sockets(&web)), (vec![4, 4, 4], before));
    let second = open(&web, 12);
    assert_eq!(web.counts(), [4, 8, 12]);
    set_weights(&mut web, &[1, 1, 1]);
    assert_eq!(web.counts(), [4, 8, 12]);
    let third = open(&web, 12);
    assert_eq!(web.counts(), [12, 12, 12]);
    drop((first, second, third));
}

/// The window, and how much older a backend may look than the clock of the test says: two ticks.
const WINDOW: Duration = Duration::from_secs(3);
const TICKS: Duration = Duration::from_millis(135);

/// The most connections that a backend, added no longer ago than that, may have beside others with
/// so many each.
fn share(age: Duration, others: u64) -> f64 {
    let part = (age + TICKS).div_duration_f64(WINDOW).clamp(0.1, 1.0);
    (part * (others + 1) as f64).ceil() + 1.0
}

#[test]
fn a_new_backend_comes_to_its_share_over_the_slow_start() {
    let mut web = start("slow-start", 3, "least-connections");
    let third = web.service.endpoints.pop().expect("three");
    web.change(|service| service.annotated(SLOW_START, "3s"), |shown| in_use(shown) == [1, 2]);
    // Else those two were new as well.
    thread::sleep(WINDOW + TICKS);
    let warm = open(&web, 40);
    assert_eq!(web.counts(), [20, 20]);

    let added = Instant::now();
    let add = |mut service: Service| {
        service.endpoints.push(third);
        service
    };
    web.change(add, |shown| in_use(shown) == [1, 2, 3]);
    let burst = open(&web, 20);
    let counts = web.counts();
    let (new, others) = (counts[2], counts[0].max(counts[1]));
    assert!(new >= 1 && (new as f64) <= share(added.elapsed(), others), "{counts:?}");
    drop(burst);

    // From here on only what goes to the third is kept: it fills up as the window passes.
    let mut kept = Vec::new();
    while kept.len() < 20 {
        let (backend, connection) = next(&web);
        let age = added.elapsed();
        if backend == 2 {
            kept.push(connection);
            assert!(kept.len() as f64 <= share(age, 20), "{} after {age:?}", kept.len());
        }
        assert!(age < 3 * WINDOW, "{} after {age:?}", kept.len());
    }
    assert_eq!(web.counts(), [20, 20, 20]);
    drop(warm);
}

/// Backends that are all new share evenly, and another policy knows no slow start.
#[test]
fn a_slow_start_holds_back_only_beside_older_backends() {
    let mut web = Web::start("slow-all", 0);
    let slow = web.service.clone().annotated(SLOW_START, "1h");
    web.change(|_| slow, |shown| shown["slow_start_s"] == 3600);
    let pods = web.lab.pods((1..=2).map(|n| (format!("web-{n}"), address(n)))).expect("backends");
    web.servers = pods.iter().map(common::serve).collect();
    let add = |mut service: Service| {
        service.endpoints = pods.iter().map(|pod| Endpoint::ready(pod.ip())).collect();
        service
    };
    web.change(add, |shown| in_use(shown) == [1, 2]);
    let held = open(&web, 20);
    assert_eq!(web.counts(), [10, 10]);
    drop(held);
    set_policy(&mut web, "round-robin");
    let held = open(&web, 20);
    assert_eq!(web.counts(), [10, 10]);
    drop(held);
}

#[test]
fn ipv6_is_chosen_alike() {
    let mut web = Web::start("policies-6", 3);
    let server = |pod: &Pod| Server::start(pod.place(), pod.name(), &[pod.socket6(8080)]);
    let servers: Vec<_> = web.backends.iter().map(|pod| server(pod).expect("server")).collect();
    web.servers.extend(servers);
    let vip = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x10);
    let six = Service::new("six", vip, 80, 8080, web.backends.iter().map(Pod::ip6));
    let rules: Vec<_> =
        (1..).zip(&web.backends).map(|(n, pod)| format!("address/{}={n}", pod.ip6())).collect();
    let six = six.annotated(WEIGHTS, &rules.join(","));
    let target = SocketAddr::from((vip, 80));
    let counts = |web: &Web| -> Vec<Value> {
        let shown = web.shown("default/six");
        let backends = shown["backends"].as_array().expect("backends");
        backends.iter().map(|backend| backend["active"].clone()).collect()
    };
    for (policy, expected) in [
        ("weighted-least-connections", json!([4, 8, 12])),
        ("round-robin", json!([8, 8, 8])),
        ("least-connections", json!([8, 8, 8])),
    ] {
        web.manifests.write(&six.clone().annotated(POLICY, policy)).expect("written");
        await_shown(&web.agent, |all| {
            all.iter().any(|s| s["name"] == "six" && s["policy"] == policy)
        });
        let held = Connections::open(web.client.place(), target, 24).opened(target);
        assert_eq!(json!(counts(&web)), expected, "{policy}");
        drop(held);
    }
}
