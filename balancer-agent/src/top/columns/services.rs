//! Columns of Service ports.

use super::{Column, Tone, failing, number, plain, rare, text, thousandths};
use crate::{
    top::figures::{optional, rate, ratio, speed},
    view::TopServiceView,
};

/// Columns of Service ports.
pub const SERVICES: &[Column<TopServiceView>] = &[
    text(
        "SERVICE",
        0,
        |s| format!("{}/{}", s.namespace, s.service),
        |s| format!("{}/{}", s.namespace, s.service).into(),
    ),
    text("PORT", 9, port, |s| u64::from(s.service_port.number).into()),
    number("CONNS", 1, |s| s.connections.to_string(), |s| s.connections.into(), plain),
    rare(number("CLUSTER", 7, |s| optional(s.cluster_active), |s| s.cluster_active.into(), plain)),
    number("OPEN/S", 5, |s| speed(s.opened_per_s), |s| thousandths(s.opened_per_s), plain),
    number("CLOSE/S", 10, |s| speed(s.closed_per_s), |s| thousandths(s.closed_per_s), plain),
    number(
        "FAIL/S",
        6,
        |s| speed(s.failed_per_s),
        |s| thousandths(s.failed_per_s),
        |s| failing(s.failed_per_s),
    ),
    number(
        "PODS",
        3,
        pods,
        |s| s.usable.into(),
        |s| match s.usable {
            0 => Tone::Bad,
            _ => Tone::Plain,
        },
    ),
    number("LEAST", 8, |s| optional(s.least), |s| s.least.into(), plain),
    number("MOST", 8, |s| optional(s.most), |s| s.most.into(), plain),
    number("SKEW", 2, |s| ratio(s.skew), |s| thousandths(s.skew), uneven),
    number("RATE", 4, |s| rate(s.rate), |s| thousandths(s.rate), plain),
    number("R-SKEW", 8, |s| ratio(s.rate_skew), |s| thousandths(s.rate_skew), plain),
    rare(number("MOVED", 11, |s| optional(s.moved), |s| s.moved.into(), plain)),
    text("POLICY", 12, |s| s.policy.clone(), |s| (&s.policy).into()),
];

fn port(service: &TopServiceView) -> String {
    format!("{}/{}", service.service_port.number, service.service_port.protocol)
}

fn pods(service: &TopServiceView) -> String {
    format!("{}/{}", service.usable, service.backends.len())
}

/// What differs by more than one in ten, and by more than one connection, is worth a look.
fn uneven(service: &TopServiceView) -> Tone {
    let apart = service.most.zip(service.least).is_some_and(|(most, least)| most - least > 1);
    match service.skew {
        Some(skew) if apart && skew >= 2.0 => Tone::Bad,
        Some(skew) if apart && skew > 1.1 => Tone::Warning,
        _ => Tone::Plain,
    }
}
