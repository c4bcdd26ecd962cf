//! What an agent remembers of what has changed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{VIP, Web, address, dial, in_use};
use balancer_lab::manifests::Service;

/// The kinds and messages that are listed.
fn listed(web: &Web, flags: &[&str]) -> Vec<(String, String)> {
    let events = web.agent.json(&[&["events"], flags].concat()).expect("events");
    let text = |event: &Value, name: &str| event[name].as_str().expect("text").to_owned();
    let events = events.as_array().expect("an array").iter();
    events.map(|event| (text(event, "kind"), text(event, "message"))).collect()
}

/// Asks until something is listed.
fn await_listed(web: &Web, kind: &str, message: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let all = listed(web, &[]);
        if all.iter().any(|(found, text)| found == kind && text.contains(message)) {
            return;
        }
        assert!(Instant::now() < deadline, "no {kind} {message:?} in {all:#?}");
    }
}

#[test]
fn what_changes_on_a_node_is_remembered_in_words() {
    let mut web = Web::start("journal", 2);
    await_listed(&web, "agent", "started, version");
    await_listed(&web, "agent", "1 Service ports are there");
    web.change(|_| Service::new("web", VIP, 80, 8080, [address(1)]), |shown| in_use(shown) == [1]);
    await_listed(&web, "endpoints", "gone 10.244.0.2:8080; now 1 endpoint");
    web.change(
        |_| Service::new("web", VIP, 80, 8080, [address(1), address(2)]),
        |shown| in_use(shown) == [1, 2],
    );

    // Nobody listens at one of them any more.
    drop(web.servers.remove(0));
    let deadline = Instant::now() + Duration::from_secs(10);
    while dial(web.client.place(), (VIP, 80))["errno"] != 111 {
        assert!(Instant::now() < deadline, "no connection has failed");
    }
    await_listed(&web, "suspect", "10.244.0.1:8080 fails");
    web.agent.cli(&["drain", "10.244.0.1", "--force"]).expect("drained");
    await_listed(&web, "drain", "10.244.0.1:8080 is drained over 30 s");

    web.manifests.write_text("broken.yaml", "kind: [").expect("written");
    await_listed(&web, "problem", "");
    let own = listed(&web, &["default/web", "--since", "5m"]);
    assert!(own.iter().all(|(kind, _)| kind != "agent" && kind != "problem"), "{own:#?}");
    let status = web.agent.json(&["status"]).expect("status");
    assert_eq!(status["events"]["last"]["kind"], json!("problem"), "{:#}", status["events"]);
    assert!(status["events"]["count"].as_u64().is_some_and(|count| count > 5));
}
