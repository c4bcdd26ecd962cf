//! Columns of connections.

use super::{Column, number, plain, rare, text, thousandths};
use crate::{
    render::human::{age, bytes},
    top::{
        figures::{optional, rate},
        rates::Rated,
    },
    view::ActivityView,
};

/// Columns of connections.
pub const CONNECTIONS: &[Column<Rated>] = &[
    text("CLIENT", 0, |c| c.client().to_string(), |c| c.client().into()),
    rare(text(
        "POD",
        3,
        |c| optional(c.view.pod.as_ref()),
        |c| c.view.pod.as_ref().map(ToString::to_string).into(),
    )),
    text("BACKEND", 7, |c| c.backend().to_string(), |c| c.backend().into()),
    number("AGE", 2, |c| age(c.view.age_ms / 1_000), |c| c.view.age_ms.into(), plain),
    number("IDLE", 5, |c| optional(idle(c).map(|ms| age(ms / 1_000))), |c| idle(c).into(), plain),
    text("STATE", 4, doing, |c| doing(c).into()),
    number("RATE", 1, |c| rate(c.rate), |c| thousandths(c.rate), plain),
    number("SENT", 8, |c| volume(c, |a| a.bytes_sent), |c| of(c, |a| a.bytes_sent).into(), plain),
    number(
        "RECEIVED",
        9,
        |c| volume(c, |a| a.bytes_received),
        |c| of(c, |a| a.bytes_received).into(),
        plain,
    ),
    text("COMMAND", 6, |c| optional(c.view.command.as_ref()), |c| c.view.command.as_ref().into()),
    number("PID", 10, |c| optional(c.view.pid), |c| c.view.pid.map(u64::from).into(), plain),
];

fn doing(connection: &Rated) -> String {
    if let Some(outside) = &connection.view.outside {
        return outside.state.clone();
    }
    let told = match (&connection.view.ended_ms, &connection.view.activity) {
        (Some(_), _) => "ended",
        (None, None) => "unreachable",
        (None, Some(activity)) if activity.state != "established" => &activity.state,
        (None, Some(activity)) if activity.busy => "busy",
        (None, Some(_)) => "quiet",
    };
    told.to_owned()
}

fn of(connection: &Rated, number: fn(&ActivityView) -> u64) -> Option<u64> {
    connection.view.activity.as_ref().map(number)
}

fn idle(connection: &Rated) -> Option<u64> {
    of(connection, |activity| activity.idle_ms)
}

fn volume(connection: &Rated, number: fn(&ActivityView) -> u64) -> String {
    optional(of(connection, number).map(bytes))
}
