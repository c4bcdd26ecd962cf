//! Columns of backends.

use std::net::SocketAddr;

use super::{Column, Tone, failing, number, plain, rare, text, thousandths};
use crate::{
    render::human::bar,
    top::{
        figures::{optional, rate, sparkline, speed},
        model::Model,
        port::PortKey,
    },
    view::{BackendState, TopBackendView, TopServiceView},
};

/// A backend with what it is drawn beside.
#[derive(Clone, Debug)]
pub struct BackendRow {
    /// The backend.
    pub view: TopBackendView,
    /// Most connections of a backend of its Service port.
    pub most: u64,
    /// Its connections at the last looks.
    pub trend: Vec<u64>,
}

impl BackendRow {
    /// The backends of a Service port.
    pub fn all(model: &Model, service: &TopServiceView) -> Vec<Self> {
        let port = PortKey::of(service);
        let most = service.backends.iter().map(|b| b.connections).max().unwrap_or_default();
        let row = |view: &TopBackendView| {
            let address = SocketAddr::from((view.address, view.port));
            Self { view: view.clone(), most, trend: model.trend(&port, address).collect() }
        };
        service.backends.iter().map(row).collect()
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.view.address, self.view.port))
    }
}

/// Columns of backends.
pub const BACKENDS: &[Column<BackendRow>] = &[
    text("BACKEND", 0, |b| b.address().to_string(), |b| b.address().into()),
    Column {
        name: "STATE",
        rank: 3,
        is_rare: false,
        is_number: false,
        text: |b| b.view.state.name().to_owned(),
        key: Some(|b| (b.view.state as u64).into()),
        tone: |b| match b.view.state {
            BackendState::Ready => Tone::Good,
            BackendState::Terminating | BackendState::Draining => Tone::Warning,
            BackendState::Suspect | BackendState::NotReady => Tone::Bad,
        },
    },
    number("CONNS", 1, |b| b.view.connections.to_string(), |b| b.view.connections.into(), plain),
    Column {
        name: "",
        rank: 6,
        is_rare: false,
        is_number: false,
        text: |b| bar(b.view.connections, b.most, 8),
        key: None,
        tone: |_| Tone::Drawing,
    },
    rare(number(
        "CLUSTER",
        9,
        |b| optional(b.view.cluster_active),
        |b| b.view.cluster_active.into(),
        plain,
    )),
    number(
        "OPEN/S",
        4,
        |b| speed(b.view.opened_per_s),
        |b| thousandths(b.view.opened_per_s),
        plain,
    ),
    number(
        "CLOSE/S",
        8,
        |b| speed(b.view.closed_per_s),
        |b| thousandths(b.view.closed_per_s),
        plain,
    ),
    number(
        "FAIL/S",
        5,
        |b| speed(b.view.failed_per_s),
        |b| thousandths(b.view.failed_per_s),
        |b| failing(b.view.failed_per_s),
    ),
    number("RATE", 2, |b| rate(b.view.rate), |b| thousandths(b.view.rate), plain),
    Column {
        name: "TREND",
        rank: 7,
        is_rare: false,
        is_number: false,
        text: |b| sparkline(&b.trend, 10),
        key: None,
        tone: |_| Tone::Drawing,
    },
    number("WEIGHT", 10, |b| b.view.weight.to_string(), |b| u64::from(b.view.weight).into(), plain),
    rare(text("NODE", 11, |b| optional(b.view.node.as_ref()), |b| b.view.node.as_ref().into())),
];
