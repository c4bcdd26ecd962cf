//! Events of Services: one for each fault, however many agents find it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use balancer_agent::model::Clash;
use balancer_lab::apiserver::{ApiServer, Options, Seen as Request};
use serde_json::{Value, json};

use super::watching::{Seen, Watching, id, node, service};

/// How long three Events may take at one a second, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn broken(name: &str) -> Value {
    let mut service = service(name, "10.96.0.1");
    service["metadata"]["annotations"] = json!({"balancer-agent/policy": "banana"});
    service
}

/// The attempts to write Events so far.
fn attempts(server: &ApiServer) -> Vec<Request> {
    let is_event = |seen: &Request| seen.method == "POST" && seen.uri.contains("/events");
    server.seen().into_iter().filter(is_event).collect()
}

/// Waits for so many attempts.
async fn attempted(server: &ApiServer, count: usize) -> Vec<Request> {
    let start = Instant::now();
    loop {
        let attempts = attempts(server);
        if attempts.len() >= count {
            return attempts;
        }
        assert!(start.elapsed() < PATIENCE, "{attempts:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_fault_is_one_event_over_one_connection_and_one_a_second() {
    let watching = Watching::start_with(Options::default(), |server| {
        server.put(&node("node-1", "zone-a")).expect("put");
        for name in ["a", "b", "c"] {
            server.put(&broken(name)).expect("put");
        }
    })
    .await;
    let Watching { server, mut seen, .. } = watching;
    let mut other = Seen::open(&server.kubeconfig()).await;
    for seen in [&mut seen, &mut other] {
        seen.until("listed", |state| state.problems.len() == 3).await;
    }
    let attempts = attempted(&server, 6).await;
    let status = |status| attempts.iter().filter(|seen| seen.status == status).count();
    assert_eq!((status(201), status(409)), (3, 3), "{attempts:#?}");
    let mut of_agent: BTreeMap<u64, Vec<Instant>> = BTreeMap::new();
    for seen in &attempts {
        of_agent.entry(seen.connection).or_default().push(seen.at);
    }
    assert_eq!(of_agent.len(), 2, "one connection each: {attempts:#?}");
    for times in of_agent.values() {
        let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(pauses.min() > Some(Duration::from_millis(900)), "{times:?}");
    }
    let others: BTreeSet<u64> = server
        .seen()
        .iter()
        .filter(|seen| seen.method == "GET")
        .map(|seen| seen.connection)
        .collect();
    assert!(of_agent.keys().all(|connection| !others.contains(connection)));
}

#[tokio::test]
async fn who_loses_an_address_is_told() {
    let mut watching = Watching::start().await;
    watching.server.put(&service("xen", "10.96.0.2")).expect("put");
    watching.until("both", |state| state.services.len() == 2).await;
    let message = "10.96.0.1:80 over TCP belongs to Service default/web already".to_owned();
    let clash = Clash { service: id("xen"), field: "", message: message.clone() };
    watching.seen.tell(&[clash]);
    attempted(&watching.server, 1).await;
    let events = watching.server.list("v1", "Event");
    let [event] = events.as_slice() else { panic!("one: {events:#?}") };
    assert_eq!(event["involvedObject"]["name"], "xen");
    let service = watching.server.get("v1", "Service", "default", "xen").expect("there");
    assert_eq!(event["involvedObject"]["uid"], service["metadata"]["uid"]);
    assert_eq!((&event["reason"], &event["message"]), (&json!("AddressTaken"), &json!(message)));
}

#[tokio::test]
async fn an_event_that_fails_is_tried_again_later() {
    let mut watching = Watching::start().await;
    watching.server.faults().fail_writes(500, 2);
    watching.server.put(&broken("web")).expect("put");
    watching.until("told", |state| !state.problems.is_empty()).await;
    let attempts = attempted(&watching.server, 3).await;
    let status: Vec<_> = attempts.iter().map(|seen| seen.status).collect();
    assert_eq!(status, [500, 500, 201]);
    let pauses: Vec<_> = attempts.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(pauses[0] >= Duration::from_millis(900), "{pauses:?}");
    assert!(pauses[1] >= Duration::from_millis(1900), "{pauses:?}");
}
