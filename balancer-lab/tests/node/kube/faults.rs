//! What goes wrong, and that it ends well.

use std::{fs, time::Duration};

use balancer_agent::{model::State, source::kube::Cluster};
use balancer_lab::apiserver::Options;
use serde_json::json;

use super::watching::{Seen, Watching, endpoints, id, node, service, slice};

fn is_calm(state: &State) -> bool {
    state.problems.is_empty()
}

#[tokio::test]
async fn a_watch_of_what_was_compacted_away_lists_again() {
    let mut watching = Watching::start().await;
    watching.server.put(&service("old", "10.96.0.2")).expect("put");
    watching.until("both", |state| state.services.len() == 2).await;
    let before = watching.server.seen().len();
    watching.server.away().expect("away");
    watching.server.remove(&service("old", "")).expect("removed");
    watching.server.put(&slice("web", &["10.244.0.9"])).expect("put");
    watching.server.compact();
    watching.server.back().expect("back");
    let caught_up =
        |state: &State| state.services.len() == 1 && endpoints(state, "web") == ["10.244.0.9"];
    watching.until("caught up", |state| caught_up(state) && is_calm(state)).await;
    assert_eq!(watching.asked("services", before).0, 1, "lists");
}

#[tokio::test]
async fn a_stream_that_is_cut_inside_an_object_goes_on_before_it() {
    let mut watching = Watching::start().await;
    let before = watching.server.seen().len();
    for round in 1..=5 {
        watching.server.faults().cut(1);
        let address = format!("10.244.1.{round}");
        watching.server.put(&slice("web", &[&address])).expect("put");
        watching.until("changed", |state| endpoints(state, "web") == [address.as_str()]).await;
    }
    assert_eq!(watching.asked("endpointslices", before), (0, 5), "lists and watches");
}

#[tokio::test]
async fn garbage_is_told_and_what_it_replaced_is_not_lost() {
    let mut watching = Watching::start().await;
    let before = watching.server.seen().len();
    watching.server.faults().garbage(1);
    watching.server.put(&slice("web", &["10.244.0.5"])).expect("put");
    let told = |state: &State| {
        state.problems.iter().any(|p| p.object.starts_with("API server https://127.0.0.1:"))
    };
    watching.until("told", told).await;
    let changed = |state: &State| endpoints(state, "web") == ["10.244.0.5"] && is_calm(state);
    watching.until("changed", changed).await;
    assert_eq!(watching.asked("endpointslices", before), (0, 1), "lists and watches");
}

#[tokio::test]
async fn while_the_server_is_away_the_last_state_stays_and_says_so() {
    let mut watching = Watching::start().await;
    watching.server.away().expect("away");
    let told = |state: &State| state.problems.iter().any(|p| p.message.contains("refused"));
    let state = watching.until("told", told).await;
    assert_eq!(state.problems.len(), 1, "one problem for all kinds: {:#?}", state.problems);
    assert!(state.problems[0].message.contains("all that it told stays in force"));
    assert_eq!(endpoints(state, "web"), ["10.244.0.1"]);
    for number in 0..30 {
        watching.server.put(&service(&format!("s-{number}"), "10.97.0.1")).expect("put");
    }
    watching.server.remove(&service("web", "")).expect("removed");
    assert!(watching.seen.is_quiet(Duration::from_millis(500)).await);
    let before = watching.server.seen().len();
    watching.server.back().expect("back");
    watching.until("caught up", |state| state.services.len() == 30 && is_calm(state)).await;
    assert_eq!(watching.asked("services", before).0, 0, "nothing had to be listed again");
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut watching = Watching::start_with(Options::default(), |server| {
        server.put(&service("web", "10.96.0.1")).expect("put");
        server.put(&node("node-1", "zone-a")).expect("put");
        server.away().expect("away");
    })
    .await;
    let refused = |problems: &[balancer_agent::model::Problem]| {
        problems.iter().any(|problem| problem.message.contains("refused"))
    };
    watching.seen.until_waiting("told why", refused).await;
    watching.server.back().expect("back");
    watching.until("listed", |state| state.services.len() == 1 && is_calm(state)).await;
}

#[tokio::test]
async fn an_expired_token_is_read_again() {
    let mut watching = Watching::start().await;
    let before = watching.server.seen().len();
    watching.server.expire_tokens();
    watching.server.hang_up().expect("hung up");
    let told = |state: &State| state.problems.iter().any(|p| p.message.contains("answers 401"));
    let state = watching.until("told", told).await;
    assert_eq!(state.services.len(), 1);
    watching.server.put(&service("late", "10.96.0.2")).expect("put");
    watching.server.renew_token().expect("renewed");
    watching.until("caught up", |state| state.services.len() == 2 && is_calm(state)).await;
    assert_eq!(watching.asked("services", before).0, 0, "nothing had to be listed again");
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_and_not_too_often() {
    let mut watching = Watching::start().await;
    let before = watching.server.seen().len();
    watching.server.faults().fail(500, 12);
    watching.server.hang_up().expect("hung up");
    watching.server.put(&service("late", "10.96.0.2")).expect("put");
    watching.until("caught up", |state| state.services.len() == 2 && is_calm(state)).await;
    let asked = watching.server.seen().len() - before;
    assert!(asked <= 12 + 2 * 5, "{asked} requests");
}

#[tokio::test]
async fn absurd_objects_are_named_and_cost_nothing_else() {
    let mut watching = Watching::start().await;
    let mut absurd = service("web", "10.96.0.1");
    absurd["spec"]["ports"] = json!("many");
    watching.server.put(&absurd).expect("put");
    let mut odd = slice("web", &["10.244.0.1", "nonsense"]);
    odd["endpoints"][0]["conditions"]["ready"] = json!(true);
    watching.server.put(&odd).expect("put");
    let state = watching.until("told", |state| state.problems.len() == 2).await;
    let told: Vec<_> =
        state.problems.iter().map(|p| (p.object.as_str(), p.field.as_str())).collect();
    let want = [
        ("Service default/web", "spec.ports"),
        ("EndpointSlice default/web-1", "endpoints[1].addresses[0]"),
    ];
    assert_eq!(told, want);
    assert_eq!(state.services[&id("web")].ports.len(), 1, "the Service stays as it was");
    assert!(!state.missing);
    watching.server.put(&service("web", "10.96.0.1")).expect("put");
    watching.server.put(&slice("web", &["10.244.0.1"])).expect("put");
    watching.until("mended", is_calm).await;
}

#[tokio::test]
async fn what_was_absurd_from_the_start_may_have_been_known_before() {
    let mut watching = Watching::start_with(Options::default(), |server| {
        let mut absurd = service("web", "10.96.0.1");
        absurd["spec"] = json!([]);
        server.put(&absurd).expect("put");
        server.put(&service("db", "10.96.0.2")).expect("put");
        server.put(&node("node-1", "zone-a")).expect("put");
    })
    .await;
    let state = watching.until("listed", |_| true).await;
    assert!(state.missing && state.services.contains_key(&id("db")), "{state:#?}");
    watching.server.remove(&service("web", "")).expect("removed");
    watching.until("whole", |state| !state.missing && is_calm(state)).await;
}

#[tokio::test]
async fn a_kubeconfig_of_no_use_is_refused_with_its_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = dir.path().join("none");
    let broken = dir.path().join("broken");
    fs::write(&broken, "apiVersion: v1\nkind: Config\nclusters: 7\n").expect("written");
    for path in [missing, broken] {
        let error = Cluster::open(Some(path.clone()), "node-1", None).await.expect_err("refused");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_until_it_is_the_right_one() {
    let other = Watching::start_with(Options::default(), |_| {}).await;
    let watching = Watching::start_with(Options::default(), |server| {
        server.put(&service("web", "10.96.0.1")).expect("put");
    })
    .await;
    let (ca, right) = (watching.dir().join("ca.crt"), watching.dir().join("right.crt"));
    fs::rename(&ca, &right).expect("renamed");
    fs::copy(other.dir().join("ca.crt"), &ca).expect("copied");
    let mut seen = Seen::open(&watching.server.kubeconfig()).await;
    let named = |problems: &[balancer_agent::model::Problem]| {
        problems.iter().any(|problem| problem.message.contains("certificate"))
    };
    seen.until_waiting("told", named).await;
    fs::rename(&right, &ca).expect("renamed back");
    seen.until("listed", |state| state.services.len() == 1).await;
}
