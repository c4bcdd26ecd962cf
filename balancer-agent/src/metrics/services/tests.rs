use std::time::Instant;

use prometheus_client::{encoding::text::encode_registry, registry::Registry};

use super::*;
use crate::{metrics::backends, testing, view::BackendState};

fn text(views: Vec<ServiceView>, series: BackendSeries) -> String {
    let totals = vec![Total { opened: 70, failed: 3 }; views.len()];
    let mut registry = Registry::with_prefix("balancer");
    let services = Services::new(views, totals, series);
    registry.register_collector(Box::new(services.clone()));
    let mut text = String::new();
    encode_registry(&mut text, &registry).expect("text");
    backends::write(services.with_backends(), &mut text).expect("text");
    text
}

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn a_service_port_has_its_sums_and_its_skew() {
    let mut views = testing::services();
    // Connections 5 and 1; the second gets no new ones.
    let mut busy = views[0].clone();
    busy.backends[0].state = BackendState::Ready;
    busy.backends[1].state = BackendState::Ready;
    busy.backends[1].active = 1;
    views[0] = busy;
    let text = text(views, BackendSeries::Service);
    let port = "{namespace=\"shop\",service=\"cart\",port=\"80\",protocol=\"TCP\"}";
    let line = |name: &str, value: &str| format!("balancer_service_{name}{port} {value}");
    let lines = [
        line("connections", "6"),
        line("opened_total", "70"),
        line("failed_total", "3"),
        line("ready_backends", "2"),
        line("least_connections", "1"),
        line("most_connections", "5"),
        line("skew_ratio", "1.6666666666666668"),
    ];
    assert_has(&text, &lines.each_ref().map(String::as_str));
    // What is not known has no series, and no backends no least one.
    assert!(!text.contains("cluster"), "{text}");
    let none = "{namespace=\"default\",service=\"search\",port=\"443\",protocol=\"TCP\"}";
    assert_has(&text, &[&format!("balancer_service_ready_backends{none} 0")]);
    assert!(!text.contains(&format!("least_connections{none}")), "{text}");
    assert!(!text.contains("balancer_backend_"), "{text}");
}

#[test]
fn where_all_nodes_are_known_they_count() {
    let mut view = testing::services().swap_remove(0);
    for (backend, all) in view.backends.iter_mut().zip([30, 10]) {
        backend.cluster_active = Some(all);
    }
    // What drains counts, and is not compared.
    let mut left = view.backends[0].clone();
    (left.address, left.state, left.cluster_active) =
        ([10, 0, 0, 9].into(), BackendState::Draining, Some(5));
    view.backends.push(left);
    let text = text(vec![view], BackendSeries::All);
    let port = "{namespace=\"shop\",service=\"cart\",port=\"80\",protocol=\"TCP\"";
    let lines = [
        format!("balancer_service_cluster_connections{port}}} 45"),
        format!("balancer_service_most_cluster_connections{port}}} 30"),
        format!("balancer_service_skew_ratio{port}}} 1.5"),
        format!("balancer_backend_cluster_connections{port},backend=\"10.0.0.1:8080\"}} 30"),
    ];
    assert_has(&text, &lines.each_ref().map(String::as_str));
}

#[test]
fn weights_are_no_skew() {
    let mut view = testing::services().swap_remove(0);
    view.policy = "weighted-least-connections".into();
    view.backends[0].active = 3;
    view.backends[1].active = 6;
    let text = text(vec![view], BackendSeries::Service);
    assert!(
        text.contains(
            "skew_ratio{namespace=\"shop\",service=\"cart\",port=\"80\",protocol=\"TCP\"} 1.0\n"
        ),
        "{text}"
    );
}

#[test]
fn nothing_is_told_where_nothing_is_wanted() {
    assert_eq!(text(testing::services(), BackendSeries::Off), "");
}

/// 1,000 Service ports of 100 backends each. What it takes is printed; machines differ.
#[test]
fn a_hundred_thousand_backends_are_a_scrape_of_a_few_megabytes() {
    let mut model = testing::services().swap_remove(0);
    let backend = model.backends[0].clone();
    model.backends = (0..100)
        .map(|last| BackendView { address: [10, 0, 0, last].into(), ..backend.clone() })
        .collect();
    let name = |number: u32| ServiceView { name: format!("service-{number}"), ..model.clone() };
    let views: Vec<_> = (0..1_000).map(name).collect();
    for (series, most) in [(BackendSeries::Service, 2 << 20), (BackendSeries::All, 100 << 20)] {
        let views = views.clone();
        let begun = Instant::now();
        let text = text(views, series);
        println!("{series:?}: {} bytes in {:?}", text.len(), begun.elapsed());
        assert!(text.len() < most, "{series:?}: {} bytes", text.len());
    }
}
