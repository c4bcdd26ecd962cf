//! The table of `connections`.

use std::net::SocketAddr;

use comfy_table::Color;

use super::{
    human::{age, bytes},
    table::{cell, optional, table},
};
use crate::view::{ConnectionView, EndView};

/// Draws connections, in the order given.
pub fn connections(connections: &[ConnectionView], wide: bool) -> String {
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
            optional(view.pod.as_ref()),
            cell(age(view.age_ms / 1_000)),
            optional(activity.map(|activity| age(activity.idle_ms / 1_000))),
            state(view),
        ];
        if wide {
            cells.extend([
                optional(activity.map(|activity| bytes(activity.bytes_sent))),
                optional(activity.map(|activity| bytes(activity.bytes_received))),
                cell(view.pid),
                optional(view.command.as_ref()),
            ]);
        }
        cells
    };
    table(&header, connections.iter().map(row))
}

fn state(view: &ConnectionView) -> comfy_table::Cell {
    if let Some(ended_ms) = view.ended_ms {
        return cell(format!("ended {}", age(ended_ms / 1_000))).fg(Color::Yellow);
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
