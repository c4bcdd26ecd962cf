//! Lists: streamed, in pages, complete or not.

use std::time::Duration;

use balancer_lab::apiserver::{Options, StreamingLists};

use super::watching::{Watching, endpoints, id, node, service, slice};

const MANY: usize = 3_000;

async fn many(options: Options) -> Watching {
    let mut watching = Watching::start_with(options, |server| {
        for number in 0..MANY {
            let ip = format!("10.97.{}.{}", number / 250, number % 250 + 1);
            server.put(&service(&format!("s-{number}"), &ip)).expect("put");
        }
        server.put(&slice("s-7", &["10.244.0.1"])).expect("put");
    })
    .await;
    let state = watching.until("listed", |_| true).await;
    assert_eq!((state.services.len(), state.slices.len()), (MANY, 1));
    assert_eq!(watching.seen.states, 1);
    watching
}

#[tokio::test]
async fn a_server_with_streaming_lists_is_asked_for_one() {
    let watching = many(Options::default()).await;
    assert_eq!(watching.asked("services", 0), (1, 0));
}

#[tokio::test]
async fn a_server_that_forbids_streaming_lists_is_asked_for_pages() {
    let forbids = StreamingLists::Forbidden;
    let mut watching = many(Options { streaming_lists: forbids, ..Options::default() }).await;
    let (lists, _) = watching.asked("services", 0);
    assert_eq!(lists, 1 + MANY / 200, "one refused, then pages");
    watching.server.put(&slice("s-7", &["10.244.0.2"])).expect("put");
    watching.until("changed", |state| endpoints(state, "s-7") == ["10.244.0.2"]).await;
}

#[tokio::test]
async fn an_old_server_is_never_asked_to_stream() {
    let old = StreamingLists::Unknown;
    let options = Options { streaming_lists: old, version: (1, 26), ..Options::default() };
    let watching = many(options).await;
    let seen = watching.server.seen();
    assert!(!seen.iter().any(|seen| seen.uri.contains("sendInitialEvents")), "{seen:?}");
}

#[tokio::test]
async fn a_list_whose_pages_expire_begins_again() {
    let forbids = StreamingLists::Forbidden;
    let options = Options { streaming_lists: forbids, ..Options::default() };
    let mut watching = Watching::start_with(options, |server| {
        for number in 0..MANY {
            server.put(&service(&format!("s-{number}"), "10.97.0.1")).expect("put");
        }
        // Each page is late, so that the list is still going on when its snapshot is compacted.
        server.faults().slow(Duration::from_millis(20));
    })
    .await;
    let second_page = |seen: &balancer_lab::apiserver::Seen| seen.uri.contains("continue=");
    while !watching.server.seen().iter().any(second_page) {
        // The kinds that are complete are told, and no state.
        watching.seen.is_quiet(Duration::from_millis(1)).await;
        assert_eq!(watching.seen.states, 0, "a state too early");
    }
    watching.server.put(&service("late", "10.97.0.2")).expect("put");
    watching.server.compact();
    watching.server.faults().slow(Duration::ZERO);
    let state = watching.until("listed", |_| true).await;
    assert_eq!(state.services.len(), MANY + 1);
    let gone = |seen: &balancer_lab::apiserver::Seen| seen.status == 410;
    assert!(watching.server.seen().iter().any(gone), "no page was refused");
}

#[tokio::test]
async fn nothing_is_told_before_every_list_is_complete() {
    let mut watching = Watching::start_with(Options::default(), |server| {
        server.put(&service("web", "10.96.0.1")).expect("put");
        server.put(&slice("web", &["10.244.0.1"])).expect("put");
        // Every list breaks off in its first object, as often as there is a kind, and again.
        server.put(&node("node-1", "zone-a")).expect("put");
        server.faults().cut(6);
    })
    .await;
    let state = watching.until("listed", |_| true).await;
    assert_eq!(endpoints(state, "web"), ["10.244.0.1"]);
    assert!(state.services.contains_key(&id("web")));
    assert_eq!(watching.seen.states, 1);
}

#[tokio::test]
async fn a_list_that_breaks_off_prunes_nothing() {
    let mut watching = Watching::start().await;
    for number in 0..20 {
        watching.server.put(&service(&format!("s-{number}"), "10.97.0.1")).expect("put");
    }
    watching.until("all there", |state| state.services.len() == 21).await;
    let before = watching.server.seen().len();
    watching.server.away().expect("away");
    watching.server.compact();
    watching.server.put(&service("late", "10.97.0.2")).expect("put");
    watching.server.compact();
    // The new lists break off again and again.
    watching.server.faults().cut(8);
    watching.server.back().expect("back");
    while !watching.seen.state.as_ref().is_some_and(|s| s.services.contains_key(&id("late"))) {
        watching.until("still whole", |state| state.services.len() >= 21).await;
        watching.seen.is_quiet(Duration::from_millis(50)).await;
    }
    let state = watching.until("caught up", |state| state.services.len() == 22).await;
    assert_eq!(state.slices.len(), 1);
    assert!(watching.asked("services", before).0 >= 2, "no list was broken off");
}
