//! `/metrics`, as Prometheus reads it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{Connections, VIP, Web, dial};
use balancer_lab::{Agent, Lab, apiserver::Process, exposition};
use serde_json::json;

/// The value of a series of the Service port `default/web:80`.
fn of_web(web: &Web, name: &str) -> Option<f64> {
    let series = format!(
        "balancer_service_{name}{{namespace=\"default\",service=\"web\",port=\"80\",protocol=\"TCP\"}} "
    );
    value(web, &series)
}

fn value(web: &Web, series: &str) -> Option<f64> {
    let text = web.agent.metrics().expect("metrics");
    text.lines().find_map(|line| line.strip_prefix(series)?.parse().ok())
}

#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < deadline, "not {what}");
    }
}

#[test]
fn a_service_port_is_told_as_the_kernel_counts_it() {
    let mut web = Web::start("metrics", 3);
    // The totals begin with the first scrape.
    assert_eq!(of_web(&web, "opened_total"), Some(0.0));
    let open = Connections::open(web.client.place(), (VIP, 80), 7).opened((VIP, 80));
    for (name, want) in [
        ("connections", 7.0),
        ("opened_total", 7.0),
        ("failed_total", 0.0),
        ("ready_backends", 3.0),
        ("least_connections", 2.0),
        ("most_connections", 3.0),
    ] {
        assert_eq!(of_web(&web, name), Some(want), "{name}");
    }
    let skew = of_web(&web, "skew_ratio").expect("a skew");
    assert!((skew - 9.0 / 7.0).abs() < 1e-9, "{skew}");

    // A backend goes, and what it had opened stays in the sum.
    drop(open);
    let changes = "kubeproxy_sync_proxy_rules_endpoint_changes_total ";
    let before = value(&web, changes).expect("changes");
    web.change(
        |mut service| {
            service.endpoints.truncate(1);
            service
        },
        |shown| shown["backends"].as_array().is_some_and(|all| all.len() == 1),
    );
    assert_eq!(of_web(&web, "opened_total"), Some(7.0));
    assert!(value(&web, changes).expect("changes") > before);
    for name in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count ",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds ",
        "process_resident_memory_bytes ",
    ] {
        assert!(value(&web, name).is_some_and(|value| value > 0.0), "{name}");
    }
    assert_eq!(value(&web, "kubeproxy_sync_proxy_rules_service_changes_pending "), Some(0.0));

    web.change(
        |mut service| {
            service.endpoints[0].ready = Some(false);
            service
        },
        |shown| shown["backends"] == json!([]),
    );
    assert_eq!(of_web(&web, "ready_backends"), Some(0.0));
    assert_eq!(of_web(&web, "least_connections"), None);
}

#[test]
fn how_long_connections_lived_is_told() {
    let web = Web::start("lifetimes", 1);
    let bucket = |le: &str| {
        let text = web.agent.metrics().expect("metrics");
        let labels = [("le", le)];
        exposition::sum(&text, "balancer_connection_lifetime_seconds_bucket", &labels)
    };
    let before = (bucket("1.0"), bucket("+Inf"));
    let all = |short: u64, all: u64| (before.0 + short, before.1 + all);
    let long = Connections::open(web.client.place(), (VIP, 80), 2).opened((VIP, 80));
    let begun = Instant::now();
    // Refused: nobody listens there, and no connection lives.
    let _ = dial(web.client.place(), (VIP, 81));
    drop(Connections::open(web.client.place(), (VIP, 80), 3).opened((VIP, 80)));
    until("three are counted", || (bucket("1.0"), bucket("+Inf")) == all(3, 3));
    until("a second is over", || begun.elapsed() > Duration::from_millis(1_500));
    drop(long);
    until("five are counted", || (bucket("1.0"), bucket("+Inf")) == all(3, 5));
    let sum = value(&web, "balancer_connection_lifetime_seconds_sum ").expect("a sum");
    assert!((3.0..60.0).contains(&sum), "{sum}");
}

#[test]
fn what_the_api_server_is_asked_is_told() {
    let lab = Lab::create("asked").expect("a lab");
    let listen = SocketAddr::from((Ipv4Addr::new(172, 18, 0, 1), 6443));
    let api =
        Process::start(lab.outside(), &lab.state_dir().join("api"), listen).expect("a server");
    let agent = Agent::start_watching(&lab, &api.kubeconfig(), &[]).expect("an agent");
    let text = agent.metrics().expect("metrics");
    let host = listen.to_string();
    let asked = [("code", "200"), ("method", "GET"), ("host", host.as_str())];
    let asked = exposition::sum(&text, "rest_client_requests_total", &asked);
    assert!(asked >= 4, "each kind is listed: {asked}\n{text}");
    let took = [("verb", "GET"), ("host", host.as_str())];
    let took = exposition::sum(&text, "rest_client_request_duration_seconds_count", &took);
    assert!(took >= asked, "{took} of {asked}\n{text}");
}
