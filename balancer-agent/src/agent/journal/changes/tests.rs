use super::*;
use crate::testing::services::{backend, desired, frontend, port, port_id};

/// What is told of a change of `shop/cart`.
fn told(before: Option<&DesiredPort>, after: Option<&DesiredPort>) -> Vec<(EventKind, String)> {
    let events = differs(&port_id("cart"), before, after);
    assert!(events.iter().all(|event| event.object == "Service shop/cart"));
    events.into_iter().map(|event| (event.kind, event.message)).collect()
}

#[test]
fn services_come_and_go_in_words() {
    let two = port(&[1], &[1, 2]);
    let service = |text: &str| vec![(EventKind::Service, text.to_owned())];
    assert_eq!(told(None, Some(&two)), service("port 80/TCP: balanced, 2 endpoints"));
    let none = port(&[1], &[]);
    let refused = "port 80/TCP: balanced, no endpoint: clients are refused";
    assert_eq!(told(None, Some(&none)), service(refused));
    assert_eq!(told(Some(&two), None), service("port 80/TCP: no longer balanced"));
    assert_eq!(told(Some(&two), Some(&two)), []);
}

#[test]
fn endpoints_come_and_go_and_are_ready_or_not() {
    let endpoints = |text: &str| vec![(EventKind::Endpoints, format!("port 80/TCP: {text}"))];
    let two = port(&[1], &[1, 2]);
    let other = told(Some(&two), Some(&port(&[1], &[2, 3])));
    assert_eq!(other, endpoints("gone 10.0.0.1:80; ready 10.0.0.3:80; now 2 endpoints"));
    let mut not_ready = two.clone();
    for details in not_ready.backends.values_mut() {
        (details.usable, details.serving) = (false, false);
    }
    let lost = told(Some(&two), Some(&not_ready));
    let text = "not ready 10.0.0.1:80, 10.0.0.2:80; now no endpoint: clients are refused";
    assert_eq!(lost, endpoints(text));
    let back = told(Some(&not_ready), Some(&two));
    assert_eq!(back, endpoints("ready 10.0.0.1:80, 10.0.0.2:80; now 2 endpoints"));
    let many: Vec<u8> = (1..=9).collect();
    let scaled = told(Some(&port(&[1], &[])), Some(&port(&[1], &many)));
    let first = "ready 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80, 10.0.0.4:80 and 5 more";
    assert_eq!(scaled, endpoints(&format!("{first}; now 9 endpoints")));
}

#[test]
fn what_is_said_of_a_service_is_named() {
    let before = port(&[1], &[1]);
    let mut after = before.clone();
    after.frontends = vec![frontend(1), frontend(2)];
    after.options.policy = balancer_common::policy::Policy::Random;
    let text = "port 80/TCP: addresses changed (1 new, 0 gone); \
                policy least-connections became random";
    assert_eq!(told(Some(&before), Some(&after)), [(EventKind::Service, text.to_owned())]);
    let mut after = before.clone();
    (after.number, after.options.slow_start) = (81, 30);
    let text = "port 81/TCP: port 80 became 81; how a backend is chosen changed";
    assert_eq!(told(Some(&before), Some(&after)), [(EventKind::Service, text.to_owned())]);
}

#[test]
fn only_what_was_asked_about_is_compared() {
    let old = desired(&[("api", &[1], &[1]), ("cart", &[2], &[1]), ("web", &[3], &[3])]);
    let new = desired(&[("api", &[1], &[9]), ("cart", &[2], &[1, 2]), ("new", &[4], &[4])]);
    let objects = |events: Vec<Event>| -> Vec<String> {
        events.into_iter().map(|event| format!("{}: {}", event.object, event.message)).collect()
    };
    let services = ["cart", "new", "web"].map(|name| port_id(name).service);
    let before = before(&old, &services);
    assert_eq!(
        objects(after(&before, &new, &services)),
        [
            "Service shop/cart: port 80/TCP: ready 10.0.0.2:80; now 2 endpoints",
            "Service shop/new: port 80/TCP: balanced, 1 endpoint",
            "Service shop/web: port 80/TCP: no longer balanced",
        ]
    );
    assert_eq!(all(&old.ports, &new).len(), 4, "and that of api");
    assert!(old.ports.values().any(|port| port.backends.get(&backend(3)).is_some()));
}

#[test]
fn problems_belong_to_their_service() {
    let of_service = Problem {
        object: "Service shop/cart".into(),
        field: "spec.ports".into(),
        message: "missing".into(),
    };
    let event = problem(&of_service, true);
    assert_eq!(event.service, Some(port_id("cart").service));
    assert_eq!(event.message, "spec.ports: missing");
    assert_eq!(problem(&of_service, false).message, "mended: spec.ports");
    let other = Problem { object: "maps".into(), field: String::new(), message: "full".into() };
    assert_eq!(problem(&other, true).service, None);
    assert_eq!(problem(&other, false).message, "mended");
}
