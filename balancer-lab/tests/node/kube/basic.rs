//! What is told while all is well.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::watching::{Watching, endpoints, id, node, service, slice};

#[tokio::test]
async fn the_first_state_is_complete_and_of_this_node() {
    let watching = Watching::start().await;
    let state = watching.seen.state.as_ref().expect("a state");
    assert_eq!(watching.seen.states, 1, "states before everything was listed");
    assert_eq!(state.services[&id("web")].cluster_ips[0].to_string(), "10.96.0.1");
    assert_eq!(endpoints(state, "web"), ["10.244.0.1"]);
    let node = state.node.as_ref().expect("a node");
    assert_eq!((node.name.as_str(), node.zone.as_deref()), ("node-1", Some("zone-a")));
    assert_eq!((state.problems.as_slice(), state.missing), (&[][..], false));
    assert_eq!(watching.seen.waiting, []);
}

#[tokio::test]
async fn changes_and_deletions_arrive() {
    let mut watching = Watching::start().await;
    watching.server.put(&slice("web", &["10.244.0.1", "10.244.0.2"])).expect("put");
    watching.until("grown", |state| endpoints(state, "web").len() == 2).await;
    watching.server.put(&service("db", "10.96.0.2")).expect("put");
    watching.until("joined", |state| state.services.contains_key(&id("db"))).await;
    watching.server.remove(&service("db", "10.96.0.2")).expect("removed");
    watching.until("gone", |state| !state.services.contains_key(&id("db"))).await;
    watching.server.put(&node("node-1", "zone-c")).expect("put");
    let zone = |zone: &'static str| {
        move |state: &balancer_agent::model::State| {
            state.node.as_ref().is_some_and(|node| node.zone.as_deref() == Some(zone))
        }
    };
    watching.until("moved", zone("zone-c")).await;
    watching.server.remove(&node("node-1", "")).expect("removed");
    let state = watching.until("without its Node", |s| !zone("zone-c")(s)).await;
    assert_eq!(state.node.as_ref().expect("its name").name, "node-1");
    let told: Vec<_> = state.problems.iter().map(|problem| problem.object.as_str()).collect();
    assert_eq!(told, ["Node node-1"], "{:?}", state.problems);
    watching.server.put(&node("node-1", "zone-c")).expect("put");
    let state = watching.until("with its Node", zone("zone-c")).await;
    assert_eq!(state.problems, []);
}

#[tokio::test]
async fn pods_of_this_node_and_namespaces_are_told_with_their_labels() {
    let mut watching = Watching::start().await;
    let pod = |name: &str, node: &str, phase: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"balancer-agent/enabled": "false"}},
            "spec": {"nodeName": node},
            "status": {"phase": phase, "podIPs": [{"ip": "10.244.0.7"}]},
        })
    };
    watching.server.put(&pod("elsewhere", "node-2", "Running")).expect("put");
    watching.server.put(&pod("here", "node-1", "Running")).expect("put");
    let state = watching.until("told", |state| state.pods.contains_key(&id("here"))).await;
    assert_eq!(state.pods.keys().collect::<Vec<_>>(), [&id("here")]);
    assert_eq!(state.pods[&id("here")].enabled, Some(false));
    watching.server.put(&pod("here", "node-1", "Succeeded")).expect("put");
    watching.until("ended", |state| state.pods.is_empty()).await;

    let state = watching.seen.state.as_ref().expect("a state");
    assert_eq!(state.namespaces["default"].enabled, None);
    let labels = json!({"balancer-agent/enabled": "false"});
    let metadata = json!({"name": "default", "labels": labels});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
    watching.server.put(&namespace).expect("put");
    watching.until("labelled", |s| s.namespaces["default"].enabled == Some(false)).await;
    watching.server.remove(&namespace).expect("removed");
    watching.until("gone", |state| !state.namespaces.contains_key("default")).await;
}

#[tokio::test]
async fn what_is_for_another_proxy_is_not_even_asked_for() {
    let mut watching = Watching::start().await;
    let mut other = service("other", "10.96.0.9");
    let label = json!({"service.kubernetes.io/service-proxy-name": "theirs"});
    other["metadata"]["labels"] = label.clone();
    watching.server.put(&other).expect("put");
    watching.server.put(&service("next", "10.96.0.10")).expect("put");
    let state = watching.until("next", |state| state.services.contains_key(&id("next"))).await;
    assert!(!state.services.contains_key(&id("other")));

    // A label that comes later takes the Service away.
    let mut next = service("next", "10.96.0.10");
    next["metadata"]["labels"] = label;
    watching.server.put(&next).expect("put");
    watching.until("handed over", |state| !state.services.contains_key(&id("next"))).await;
    let selectors: Vec<_> = (watching.server.seen().into_iter())
        .filter(|seen| seen.uri.contains("/services?") || seen.uri.contains("/endpointslices?"))
        .collect();
    assert!(!selectors.is_empty());
    for seen in selectors {
        assert!(seen.uri.contains("headless") && seen.uri.contains("proxy-name"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_change_that_means_nothing_is_no_new_state() {
    let mut watching = Watching::start().await;
    for number in 0..100 {
        let mut same = service("web", "10.96.0.1");
        same["metadata"]["annotations"] = json!({"example.com/beat": number.to_string()});
        watching.server.put(&same).expect("put");
    }
    watching.server.put(&service("end", "10.96.0.2")).expect("put");
    watching.until("at the end", |state| state.services.contains_key(&id("end"))).await;
    assert_eq!(watching.seen.states, 2);
}

#[tokio::test]
async fn a_burst_is_merged_and_loses_nothing() {
    let mut watching = Watching::start().await;
    let before = watching.seen.states;
    for round in 0..20 {
        for number in 0..50 {
            let address = format!("10.244.{round}.{number}");
            watching.server.put(&slice(&format!("s-{number}"), &[&address])).expect("put");
        }
    }
    let last = |state: &balancer_agent::model::State| {
        (0..50).all(|n| endpoints(state, &format!("s-{n}")) == [format!("10.244.19.{n}")])
    };
    watching.until("all at their last address", last).await;
    let states = watching.seen.states - before;
    println!("1,000 changes came as {states} states");
    assert!(states < 500, "{states} states for 1,000 changes");
}

#[tokio::test]
async fn changes_bring_the_time_of_their_trigger_once() {
    let mut watching = Watching::start().await;
    let triggered = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut changed = slice("web", &["10.244.0.3"]);
    changed["metadata"]["annotations"] =
        json!({"endpoints.kubernetes.io/last-change-trigger-time": "2023-11-14T22:13:20Z"});
    watching.server.put(&changed).expect("put");
    let state = watching.until("changed", |s| endpoints(s, "web") == ["10.244.0.3"]).await;
    assert_eq!(state.triggers, [triggered]);
    assert_eq!(state.slices.get(&id("web-1")).and_then(|slice| slice.triggered), Some(triggered));
    watching.server.put(&service("db", "10.96.0.2")).expect("put");
    let state = watching.until("joined", |s| s.services.contains_key(&id("db"))).await;
    assert!(state.triggers.is_empty(), "{:?}", state.triggers);
}
