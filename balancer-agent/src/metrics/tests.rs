use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::*;
use crate::{
    model::{ObjectRef, Reason, Way},
    moves::tally::Fate,
    testing::{self, Answer, get},
};

/// Ready, and with Services, once told so.
fn switched(full: &AtomicBool) -> Scrape {
    let full = full.load(Ordering::SeqCst);
    let mut scrape = testing::scrape();
    if let Some(agent) = &mut scrape.status.agent {
        agent.ready = full;
    }
    if !full {
        scrape.services.clear();
    }
    let service = ObjectRef { namespace: "shop".into(), name: "cart".into() };
    let fates = [Fate::Ended(Way::Gentle), Fate::Unheld];
    scrape.ended = fates.map(|fate| ((service.clone(), Reason::Rebalance, fate), 13)).into();
    let now = SystemTime::now();
    let triggers = [now - Duration::from_secs(20), now + Duration::from_secs(20)];
    scrape.programming.written(&triggers);
    scrape
}

#[tokio::test]
async fn metrics_follow_the_provider() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let endpoints = Endpoints::bind(any, any).expect("two ports");
    let metrics = endpoints.metrics_address().expect("an address");
    let healthz = endpoints.healthz_address().expect("an address");
    let full = Arc::new(AtomicBool::new(false));
    let (stop, stopped) = watch::channel(false);
    let switch = Arc::clone(&full);
    let scrape = move || Ok(switched(&switch));
    let server = tokio::spawn(endpoints.serve(scrape, Arc::default(), stopped));

    assert_eq!(get(healthz, "/livez").await.code, 200);
    let Answer { code, body: text, .. } = get(metrics, "/metrics").await;
    assert_eq!(code, 200);
    assert!(text.contains("balancer_ready 0\n"), "{text}");
    assert!(!text.contains("balancer_backend_connections{"), "{text}");

    full.store(true, Ordering::SeqCst);
    let Answer { body: text, .. } = get(metrics, "/metrics").await;
    let labels = "{namespace=\"shop\",service=\"cart\",port=\"80\",protocol=\"TCP\",\
                  backend=\"10.0.0.1:8080\"}";
    for line in [
        format!("balancer_backend_connections{labels} 5\n"),
        format!("balancer_backend_opened_total{labels} 50\n"),
        format!("balancer_backend_failed_total{labels} 1\n"),
        "balancer_verdicts_total{verdict=\"balanced\"} 12345\n".to_owned(),
        "balancer_map_entries{map=\"backends\"} 250000\n".to_owned(),
        "balancer_map_entries_max{map=\"services\"} 131072\n".to_owned(),
        "balancer_connections_ended_total{namespace=\"shop\",service=\"cart\",\
         reason=\"rebalance\",way=\"gentle\"} 13\n"
            .to_owned(),
        "balancer_connections_not_ended_total{namespace=\"shop\",service=\"cart\",\
         reason=\"rebalance\",why=\"unheld\"} 13\n"
            .to_owned(),
        "balancer_service_opened_total{namespace=\"shop\",service=\"cart\",port=\"80\",\
         protocol=\"TCP\"} 90\n"
            .to_owned(),
        "balancer_source_event_age_seconds 1.5\n".to_owned(),
        "kubeproxy_sync_proxy_rules_service_changes_total 0\n".to_owned(),
        "process_open_fds ".to_owned(),
        "balancer_problems 1\n".to_owned(),
        "balancer_ready 1\n".to_owned(),
        "balancer_network_programming_duration_seconds_count 2\n".to_owned(),
        "balancer_network_programming_duration_seconds_bucket{le=\"0.001\"} 1\n".to_owned(),
        "balancer_network_programming_duration_seconds_bucket{le=\"10.0\"} 1\n".to_owned(),
        "balancer_network_programming_duration_seconds_bucket{le=\"30.0\"} 2\n".to_owned(),
        format!("balancer_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION")),
        "# EOF\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line:?} is missing from\n{text}");
    }

    let Answer { code, body, .. } = get(metrics, "/proxyMode").await;
    assert_eq!((code, body.as_str()), (200, "balancer"), "as at kube-proxy's port");

    full.store(false, Ordering::SeqCst);
    let Answer { body: text, .. } = get(metrics, "/metrics").await;
    assert!(!text.contains("balancer_backend_connections{"), "a series outlived its backend");
    stop.send(true).expect("a server that listens");
    server.await.expect("an orderly end");
}

#[tokio::test]
async fn a_scrape_of_maps_that_can_not_be_read_fails_with_the_cause() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let endpoints = Endpoints::bind(any, any).expect("two ports");
    let metrics = endpoints.metrics_address().expect("an address");
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(endpoints.serve(|| Err(testing::unreadable()), Arc::default(), stopped));
    let Answer { code, body, .. } = get(metrics, "/metrics").await;
    assert_eq!(code, 500, "{body}");
    assert!(body.starts_with("the maps can't be read: map NAMES: read:"), "{body}");
}

#[tokio::test]
async fn a_taken_address_names_the_flag() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let endpoints = Endpoints::bind(any, any).expect("two ports");
    let taken = endpoints.healthz_address().expect("an address");
    let error = Endpoints::bind(any, taken).expect_err("a taken port").to_string();
    assert!(error.contains("--healthz-bind-address"), "{error}");
    assert!(error.contains(&taken.to_string()), "{error}");
}

/// A metric that is renamed would leave an alert that never fires.
#[test]
fn alerts_and_dashboard_ask_for_what_is_shown() {
    let mut scrape = switched(&AtomicBool::new(true));
    for backend in scrape.services.iter_mut().flat_map(|service| &mut service.backends) {
        backend.cluster_active = Some(backend.active.into());
    }
    scrape.mended.add("backends", 1);
    let shown = scrape.text();
    let shown: Vec<_> = shown.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for file in ["rules.yaml", "rules.test.yaml", "dashboard.json"] {
        let path = format!("{}/../deploy/monitoring/{file}", env!("CARGO_MANIFEST_DIR"));
        let asked = std::fs::read_to_string(&path).expect("a file");
        let words = asked.split(|one: char| !one.is_ascii_alphanumeric() && one != '_');
        let names: Vec<_> = words.filter(|word| word.starts_with("balancer_")).collect();
        assert!(names.len() > 10, "{file}: {names:?}");
        for name in names {
            assert!(shown.contains(&name), "{file}: the agent shows no {name}");
        }
    }
}
