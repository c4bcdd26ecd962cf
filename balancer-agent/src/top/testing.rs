//! Services and connections for tests, in a few words.

use std::{net::Ipv4Addr, time::Duration};

use super::{
    gather::Gathered,
    model::{Model, Sample},
    rates::Look,
};
use crate::{
    testing,
    view::{ActivityView, BackendState, BackendView, ConnectionView, EndView, ServiceView},
};

/// A Service of the namespace shop with port 80: per backend what is open, was opened and has failed.
pub(super) fn service(name: &str, backends: &[(u32, u64, u64)]) -> ServiceView {
    let model = testing::services().swap_remove(0);
    let backend =
        |(nth, &(active, opened_total, failed_total)): (usize, &(u32, u64, u64))| BackendView {
            address: Ipv4Addr::new(10, 0, 0, nth as u8 + 1).into(),
            weight: 1,
            state: BackendState::Ready,
            active,
            opened_total,
            failed_total,
            ..model.backends[0].clone()
        };
    ServiceView {
        name: name.into(),
        moved_total: Some(0),
        backends: backends.iter().enumerate().map(backend).collect(),
        ..model.clone()
    }
}

/// A sample at a second.
pub(super) fn sample(second: u64, services: Vec<ServiceView>) -> Sample {
    let time = format!("2026-01-01T00:00:{second:02}Z");
    Sample { at: Duration::from_secs(second), time, services }
}

/// A look at a second.
pub(super) fn look(second: u64, connections: Vec<ConnectionView>) -> Look {
    Look { at: Duration::from_secs(second), only: None, sampled: false, connections }
}

/// A connection of port `client` to a backend of a Service, open since so many seconds.
pub(super) fn connection(
    service: &str,
    backend: u8,
    client: u16,
    age_s: u64,
    sent: u64,
) -> ConnectionView {
    let model = testing::connections().swap_remove(0);
    let address = Ipv4Addr::new(10, 0, 0, backend).into();
    let activity = ActivityView { bytes_sent: sent, ..model.activity.clone().unwrap() };
    ConnectionView {
        service: service.into(),
        backend: EndView { address, port: 8080 },
        client: EndView { port: client, ..model.client },
        age_ms: age_s * 1_000,
        activity: Some(activity),
        ..model
    }
}

/// Two Services at two times, ten seconds apart: of one a backend has too much.
fn two_looks() -> [Gathered; 2] {
    let at = |second: u64, connections| Gathered {
        sample: sample(
            second,
            vec![
                service("cart", &[(9, 90 + second, 0), (3, 30, second / 5)]),
                service("search", &[(1, 1, 0)]),
            ],
        ),
        look: Some(look(second, connections)),
        away: None,
    };
    let connections = |sent: u64| {
        vec![
            connection("cart", 1, 40_000, 100, sent),
            connection("cart", 2, 40_001, 50, sent / 4),
            connection("search", 1, 40_002, 20, 0),
        ]
    };
    [at(0, connections(0)), at(10, connections(40 << 10))]
}

/// What is known after both.
pub(super) fn model() -> Model {
    let mut model = Model::default();
    for seen in two_looks() {
        model.take(seen.sample, seen.look);
    }
    model
}
