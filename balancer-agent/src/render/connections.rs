//! The table of `connections`.

use std::net::SocketAddr;

use comfy_table::Color;

use super::{
    human::{age, bytes},
    listed::{Column, Listed},
    table::{Sheet, cell, optional},
};
use crate::view::{ActivityView, ConnectionView, EndView};

impl Listed for ConnectionView {
    const COLUMNS: &'static [Column<Self>] = &[
        ("namespace", |view| (&view.namespace).into()),
        ("service", |view| (&view.service).into()),
        ("port", |view| u64::from(view.service_port.number).into()),
        ("backend", |view| address(view.backend).into()),
        ("client", |view| address(view.client).into()),
        ("pod", |view| pod(view).into()),
        ("age", |view| view.age_ms.into()),
        ("idle", |view| activity(view, |activity| activity.idle_ms).into()),
        ("state", |view| state(view).content().into()),
        ("sent", |view| activity(view, |activity| activity.bytes_sent).into()),
        ("received", |view| activity(view, |activity| activity.bytes_received).into()),
        ("pid", |view| view.pid.map(u64::from).into()),
        ("command", |view| view.command.as_ref().into()),
    ];

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn sheet(rows: &[Self], wide: bool) -> Sheet {
        sheet(rows, wide)
    }

    fn id(&self) -> String {
        format!("{} {} {:?}", address(self.client), address(self.backend), self.pid)
    }

    /// Whether it is busy changes with each request.
    fn differs(&self, before: &Self) -> bool {
        fn lasting(view: &ConnectionView) -> (bool, Option<&str>) {
            let outside = view.outside.as_ref().map(|outside| &outside.state);
            let state = outside.or(view.activity.as_ref().map(|activity| &activity.state));
            (view.ended_ms.is_some(), state.map(String::as_str))
        }
        lasting(self) != lasting(before)
    }
}

fn activity(view: &ConnectionView, of: fn(&ActivityView) -> u64) -> Option<u64> {
    view.activity.as_ref().map(of)
}

fn sheet(connections: &[ConnectionView], wide: bool) -> Sheet {
    let mut header =
        vec!["NAMESPACE", "SERVICE", "PORT", "BACKEND", "CLIENT", "POD", "AGE", "IDLE", "STATE"];
    if wide {
        header.extend(["SENT", "RECEIVED", "PID", "COMMAND"]);
    }
    let row = |view: &ConnectionView| {
        let activity = view.activity.as_ref();
        let mut cells = vec![
            cell(&view.namespace),
            cell(&view.service),
            cell(format!("{}/{}", view.service_port.number, view.service_port.protocol)),
            cell(address(view.backend)),
            cell(address(view.client)),
            optional(pod(view)),
            cell(age(view.age_ms / 1_000)),
            optional(activity.map(|activity| age(activity.idle_ms / 1_000))),
            state(view),
        ];
        if wide {
            cells.extend([
                optional(activity.map(|activity| bytes(activity.bytes_sent))),
                optional(activity.map(|activity| bytes(activity.bytes_received))),
                optional(view.pid),
                optional(view.command.as_ref()),
            ]);
        }
        cells
    };
    let rows = connections.iter().map(row).collect();
    Sheet::new(header, rows)
}

/// The pod of the client, or that there is none of this node.
fn pod(view: &ConnectionView) -> Option<String> {
    match view.outside {
        Some(_) => Some("(outside)".to_owned()),
        None => view.pod.as_ref().map(ToString::to_string),
    }
}

fn state(view: &ConnectionView) -> comfy_table::Cell {
    if let Some(ended_ms) = view.ended_ms {
        return cell(format!("ended {}", age(ended_ms / 1_000))).fg(Color::Yellow);
    }
    if let Some(outside) = &view.outside {
        let state = cell(&outside.state);
        return if outside.state == "open" { state } else { state.fg(Color::Yellow) };
    }
    match view.activity.as_ref() {
        None => cell("unreachable").fg(Color::Yellow),
        Some(activity) if activity.state != "established" => {
            cell(&activity.state).fg(Color::Yellow)
        }
        Some(activity) if activity.busy => cell("busy").fg(Color::Green),
        Some(_) => cell("quiet"),
    }
}

fn address(end: EndView) -> SocketAddr {
    SocketAddr::from((end.address, end.port))
}
