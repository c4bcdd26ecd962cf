use std::{collections::BTreeMap, net::SocketAddr};

use axum::Router;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    desired::health_checks::HealthCheck,
    http,
    model::ObjectRef,
    testing::{Answer, get},
};

fn asked(health: &Health) -> (bool, bool, bool) {
    let report = health.report();
    (report.ready, report.keeps_up, report.node_eligible)
}

fn leaving() -> Desired {
    Desired { node_leaving: true, ..Desired::default() }
}

/// A Service `shop/web` that is asked for at a port of the loopback.
fn with_check(port: u16, local_endpoints: usize) -> Desired {
    let service = ObjectRef { namespace: "shop".into(), name: "web".into() };
    let check = HealthCheck { service, local_endpoints };
    let health_checks = HealthChecks {
        addresses: vec!["127.0.0.1".parse().unwrap()],
        by_port: BTreeMap::from([(port, check)]),
    };
    Desired { health_checks, ..Desired::default() }
}

/// Makes the agent one that has been stuck since it began.
fn stick(health: &Health) {
    health.progress().behind_since = Instant::now().checked_sub(PATIENCE);
    assert!(!health.report().keeps_up, "the clock of this machine began less than a minute ago");
}

#[test]
fn an_agent_that_waits_for_its_first_state_is_alive_and_not_ready() {
    let health = Health::default();
    assert_eq!(asked(&health), (false, true, true));
    health.written(true);
    assert_eq!(asked(&health), (true, true, true));
    assert!(health.report().updated.is_some());
}

#[test]
fn failing_writes_and_endless_work_are_forgiven_for_a_while() {
    let health = Health::default();
    let soon = |health: &Health| health.progress().report(Instant::now()).keeps_up;
    let late = |health: &Health| health.progress().report(Instant::now() + PATIENCE).keeps_up;
    health.written(false);
    assert_eq!((soon(&health), late(&health)), (true, false), "a write fails");
    let since = health.progress().behind_since;
    health.written(false);
    assert_eq!(health.progress().behind_since, since, "since the first that failed");
    health.written(true);
    assert_eq!((soon(&health), late(&health)), (true, true), "it succeeds");
    let work = health.work();
    assert_eq!((soon(&health), late(&health)), (true, false), "work is going on");
    drop(work);
    assert_eq!((soon(&health), late(&health)), (true, true), "it is done");
}

async fn start(router: Router) -> SocketAddr {
    let listener = http::listen(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let _kept = stop;
        http::serve(&listener, router, stopped).await;
    });
    address
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("no JSON: {answer:?}"))
}

#[tokio::test]
async fn probes_answer_as_kube_proxy_does() {
    let health = Arc::new(Health::default());
    let address = start(probes::router(Arc::clone(&health))).await;
    let code = async |path| get(address, path).await.code;
    assert_eq!(
        (code("/livez").await, code("/healthz").await, code("/readyz").await),
        (200, 200, 503)
    );

    health.written(true);
    assert_eq!(code("/readyz").await, 200);
    let answer = get(address, "/healthz").await;
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{answer:?}");
    let body = json_of(&answer);
    assert_eq!(body["nodeEligible"], json!(true));
    assert_eq!(body["lastUpdated"], body["currentTime"], "an agent that keeps up is up to date");
    let time: Timestamp = body["currentTime"].as_str().expect("text").parse().expect("RFC 3339");
    assert!(Timestamp::now().duration_since(time).as_secs() < 60, "{time}");

    health.know(&leaving());
    let answer = get(address, "/healthz").await;
    assert_eq!((answer.code, &json_of(&answer)["nodeEligible"]), (503, &json!(false)));
    assert_eq!(code("/livez").await, 200, "a node that leaves is no reason to start again");
    health.know(&Desired::default());

    stick(&health);
    let answer = get(address, "/livez").await;
    assert_eq!((code("/healthz").await, answer.code, code("/readyz").await), (503, 503, 200));
    let body = json_of(&answer);
    assert!(body["lastUpdated"].as_str() < body["currentTime"].as_str(), "{body}");
    assert_eq!(body.get("nodeEligible"), None);
}

#[tokio::test]
async fn balancing_that_does_not_work_is_told_and_is_not_ready() {
    let health = Arc::new(Health::default());
    let address = start(probes::router(Arc::clone(&health))).await;
    health.written(true);
    let body = json_of(&get(address, "/healthz").await);
    assert_eq!(body.get("balancing"), None, "nothing was looked at");
    for (state, name, ready) in [
        (BalancingState::Works, "works", 200),
        (BalancingState::Untested, "untested", 200),
        (BalancingState::Broken, "broken", 503),
        (BalancingState::Works, "works", 200),
    ] {
        health.balances(state);
        let answer = get(address, "/healthz").await;
        assert_eq!((answer.code, &json_of(&answer)["balancing"]), (200, &json!(name)));
        assert_eq!(get(address, "/readyz").await.code, ready, "{name}");
    }
}

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Waits for an answer that is wanted.
async fn until(address: SocketAddr, wanted: impl Fn(Option<&Answer>) -> bool) {
    let tries = async {
        loop {
            let connection = tokio::net::TcpStream::connect(address).await.ok();
            let answer = if connection.is_some() { Some(get(address, "/").await) } else { None };
            if wanted(answer.as_ref()) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), tries).await.expect("the answer that is wanted");
}

#[tokio::test]
async fn load_balancers_are_answered_as_by_kube_proxy() {
    let health = Arc::new(Health::default());
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(node_ports::serve(Arc::clone(&health), stopped));
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));

    health.know(&with_check(address.port(), 2));
    until(address, |answer| answer.is_some()).await;
    let answer = get(address, "/whatever").await;
    assert_eq!(answer.code, 200);
    assert!(answer.head.contains("x-load-balancing-endpoint-weight: 2"), "{answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    let expected = json!({
        "service": {"namespace": "shop", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": true,
    });
    assert_eq!(json_of(&answer), expected);

    health.know(&with_check(address.port(), 0));
    let answer = get(address, "/").await;
    assert_eq!((answer.code, &json_of(&answer)["localEndpoints"]), (503, &json!(0)));
    assert!(answer.head.contains("x-load-balancing-endpoint-weight: 0"), "{answer:?}");

    health.know(&with_check(address.port(), 1));
    stick(&health);
    let answer = get(address, "/").await;
    assert_eq!((answer.code, &json_of(&answer)["serviceProxyHealthy"]), (503, &json!(false)));

    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    health.know(&with_check(other.port(), 1));
    until(other, |answer| answer.is_some()).await;
    until(address, |answer| answer.is_none()).await;
    stop.send(true).expect("a server that listens");
    server.await.expect("an orderly end");
    until(other, |answer| answer.is_none()).await;
}

#[tokio::test]
async fn a_port_that_is_taken_harms_nothing_else() {
    let health = Arc::new(Health::default());
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let taken_port = taken.local_addr().expect("an address").port();
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut desired = with_check(taken_port, 1);
    let check = desired.health_checks.by_port[&taken_port].clone();
    desired.health_checks.by_port.insert(free.port(), check);
    health.know(&desired);
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(node_ports::serve(Arc::clone(&health), stopped));
    until(free, |answer| answer.is_some_and(|answer| answer.code == 200)).await;
    assert!(!server.is_finished());
    // Whoever held it is gone: load balancers do not wait long.
    let taken_address = taken.local_addr().expect("an address");
    drop(taken);
    let answered = until(taken_address, |answer| answer.is_some_and(|answer| answer.code == 200));
    tokio::time::timeout(Duration::from_secs(5), answered).await.expect("it is taken at once");
    stop.send(true).expect("a server that listens");
    server.await.expect("an orderly end");
}

/// Keeps connections that send nothing, or part of a request, and opens them again when they end.
async fn hold(address: SocketAddr, part: &'static [u8]) {
    loop {
        let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { continue };
        let _sent = stream.write_all(part).await;
        let _ended = stream.read(&mut [0; 8]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_nothing_keep_no_probe_out() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("raised");
    let address = start(probes::router(Arc::default())).await;
    let mut held = tokio::task::JoinSet::new();
    for number in 0..2_000 {
        held.spawn(hold(address, if number % 2 == 0 { b"" } else { b"G" }));
    }
    for _ in 0..20 {
        let answer = tokio::time::timeout(Duration::from_secs(1), get(address, "/livez")).await;
        assert_eq!(answer.expect("an answer within a second").code, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(held.try_join_next().is_none(), "all of them still try");
}

#[tokio::test]
async fn the_server_of_a_port_that_dies_is_started_again() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let health = Arc::new(Health::default());
    health.know(&with_check(address.port(), 1));
    health.written(true);
    let mut ports = node_ports::Ports::new(health);
    let wanted = [address].into();
    ports.listen(&wanted);
    assert_eq!(get(address, "/").await.code, 200);
    ports.kill();
    ports.died().await;
    let refused = tokio::net::TcpStream::connect(address).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    ports.listen(&wanted);
    assert_eq!(get(address, "/").await.code, 200);
}
