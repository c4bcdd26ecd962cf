//! What `explain` says a connection would get, beside what connections get.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::common::{
    Connections, VIP, Web, address,
    clients::{pod_object, tell},
    dial,
};
use balancer_common::policy::Policy;
use serde_json::{Value, json};

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

fn explain(web: &Web, target: &str, more: &[&str]) -> Value {
    web.agent.json(&[&["explain", target], more].concat()).expect("an explanation")
}

fn end(view: &Value) -> SocketAddr {
    let port = view["port"].as_u64().expect("a port") as u16;
    SocketAddr::new(view["address"].as_str().expect("text").parse().expect("an address"), port)
}

/// Backends that the next connection may get.
fn possible(told: &Value) -> BTreeSet<SocketAddr> {
    let all = told["candidates"].as_array().expect("candidates").iter();
    all.filter(|one| one["odds"].as_f64().is_some_and(|odds| odds > 0.0)).map(end).collect()
}

#[test]
fn the_next_connection_goes_where_it_was_said_to() {
    let mut web = Web::start("explain", 4);
    for policy in Policy::ALL.map(Policy::name) {
        let annotated = |service: balancer_lab::manifests::Service| {
            service.annotated("balancer-agent/policy", policy)
        };
        web.change(annotated, |shown| shown["policy"] == policy);
        let mut held = Vec::new();
        for _ in 0..10 {
            let told = explain(&web, "10.96.0.10:80", &[]);
            assert_eq!((&told["verdict"], &told["policy"]), (&json!("balanced"), &json!(policy)));
            let sum: f64 = told["candidates"]
                .as_array()
                .expect("candidates")
                .iter()
                .map(|one| one["odds"].as_f64().expect("odds"))
                .sum();
            assert!((sum - 1.0).abs() < 1e-6, "{told}");
            let before = web.active();
            held.push(Connections::open(web.client.place(), vip(), 1).opened(vip()));
            let after = web.active();
            let raised = before.iter().zip(&after).find(|(before, after)| before != after);
            let (_, (chosen, _)) = raised.expect("a backend");
            assert!(possible(&told).contains(chosen), "{policy}: {chosen} of {told:#}");
        }
    }
}

#[test]
fn without_an_agent_the_pinned_maps_tell_the_same() {
    let mut web = Web::start("explain-maps", 3);
    let _open = Connections::open(web.client.place(), vip(), 2).opened(vip());
    let asked = explain(&web, "10.96.0.10:80", &[]);
    assert_eq!(possible(&asked).len(), 1, "{asked:#}");
    web.agent.kill().expect("killed");
    let read = explain(&web, "10.96.0.10:80", &[]);
    assert_eq!(possible(&read), possible(&asked));
    assert_eq!((&read["service"], &read["why"]), (&asked["service"], &asked["why"]));
    let text = web.agent.cli(&["explain", "10.96.0.10:80", "--pod", "shop/x"]).expect("a page");
    assert!(text.contains("Note:      without an agent pods are not known"), "{text}");
}

/// Waits until the agent has read that there is a pod.
fn await_pod(web: &Web, pod: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = web.agent.cli(&["explain", "10.96.0.10:80", "--pod", pod]) {
        assert!(Instant::now() < deadline, "still {error}");
    }
}

/// The errno that is told is the one that a connect gets.
#[test]
fn what_is_refused_or_left_alone_is_told_with_its_reason() {
    let mut web = Web::start("explain-no", 1);
    tell(&web, &[pod_object(201, Some("false")), pod_object(202, None)]);
    await_pod(&web, "client-202");
    let told = explain(&web, "10.96.0.10:80", &["--pod", "client-201"]);
    assert_eq!((&told["verdict"], &told["errno"]), (&json!("opted-out"), &Value::Null));
    let told = explain(&web, "10.96.0.10:80", &["--pod", "client-202"]);
    assert_eq!(told["verdict"], "balanced", "{told:#}");
    assert_eq!(told["pod"], json!({"namespace": "default", "name": "client-202"}));
    let unknown = web.agent.cli(&["explain", "10.96.0.10:80", "--pod", "shop/nobody"]);
    let error = unknown.expect_err("no such pod").to_string();
    assert!(error.contains("no pod shop/nobody runs on this node"), "{error}");

    let told = explain(&web, "10.96.0.10:81", &[]);
    assert_eq!(told["verdict"], "not-service");
    assert!(told["why"].as_str().expect("text").contains("Service default/web, where 80/TCP can"));
    assert!(told["otherwise"].is_string(), "{told:#}");
    let told = explain(&web, &format!("{}:8080", address(1)), &[]);
    assert!(told["why"].as_str().expect("text").contains("is a backend of Service default/web"));

    web.change(
        |mut service| {
            service.endpoints[0].ready = Some(false);
            service
        },
        |shown| shown["backends"] == json!([]),
    );
    let told = explain(&web, "10.96.0.10:80", &[]);
    let dialled = dial(web.client.place(), vip());
    assert_eq!((&told["verdict"], &told["errno"]), (&json!("no-endpoint"), &dialled["errno"]));
    assert_eq!(told["error"], "ECONNREFUSED");
}
