//! The tables of `rebalance` and `drain`.

use std::{fmt::Write as _, net::SocketAddr};

use comfy_table::Color;

use super::{
    human::age,
    table::{cell, optional, table},
};
use crate::view::{
    DrainView, EndView, MoveView, NodeDrainView, NodeMoveView, PortView, RebalanceView, ShareView,
};

/// Draws what backends have and should have, and what moves.
pub fn rebalance(view: &RebalanceView, wide: bool) -> String {
    let share = |share: &ShareView| {
        let differs = share.connections != share.target;
        let target = cell(share.target);
        vec![
            cell(port(&share.service_port)),
            cell(address(share.backend)),
            cell(share.connections),
            if differs { target.fg(Color::Yellow) } else { target },
        ]
    };
    let header = ["PORT", "BACKEND", "CONNECTIONS", "TARGET"];
    let mut text = table(&header, view.backends.iter().map(share));
    if let Some(moves) = view.node_moves.as_ref().filter(|moves| !moves.is_empty()) {
        let row = |found: &NodeMoveView| {
            vec![
                cell(&found.node),
                cell(found.connections),
                cell(address(found.from)),
                cell(address(found.to)),
                cell(why(view, found)),
            ]
        };
        let header = ["NODE", "MOVES", "FROM", "TO", "WHY"];
        // Writing to a string can't fail.
        let _ = write!(text, "\n{}", table(&header, moves.iter().map(row)));
    }
    if view.moves.is_empty() {
        return text;
    }
    let mut header = vec!["CLIENT", "FROM", "QUIET", "REASON", "WAY"];
    if wide {
        header.push("PID");
    }
    let row = |found: &MoveView| {
        let mut cells = vec![
            cell(address(found.client)),
            cell(address(found.backend)),
            cell(quiet(found.idle_ms)),
            cell(found.reason.name()),
            cell(found.way.name()),
        ];
        if wide {
            cells.push(cell(found.pid));
        }
        cells
    };
    // Writing to a string can't fail.
    let _ = write!(text, "\n{}", table(&header, view.moves.iter().map(row)));
    text
}

/// What the one backend has too many, and the other one lacks.
fn why(view: &RebalanceView, found: &NodeMoveView) -> String {
    let share = |end: EndView| {
        let is_it =
            |share: &&ShareView| (&share.service_port, share.backend) == (&found.service_port, end);
        view.backends.iter().find(is_it).map(|share| (share.connections, share.target))
    };
    let over = share(found.from).map_or(0, |(has, target)| has.saturating_sub(target));
    let under = share(found.to).map_or(0, |(has, target)| target.saturating_sub(has));
    format!("{over} too many, {under} missing")
}

/// Draws what is drained by hand, and what of it each node has left where that is for all nodes.
pub fn drains(drains: &[DrainView], _wide: bool) -> String {
    let is_known = drains.iter().any(|drain| drain.by.is_some());
    let row = |drain: &DrainView| {
        let services: Vec<_> = drain.services.iter().map(ToString::to_string).collect();
        let mut cells = vec![
            cell(address(drain.backend)),
            cell(services.join(", ")),
            cell(drain.connections),
            cell(drain.ended),
            cell(age(drain.elapsed_s)),
            cell(age(drain.timeout_s)),
        ];
        if is_known {
            cells.push(optional(drain.by.as_ref()));
        }
        cells
    };
    let mut header = vec!["BACKEND", "SERVICES", "CONNECTIONS", "ENDED", "SINCE", "TIMEOUT"];
    if is_known {
        header.push("ALL-NODES-BY");
    }
    let mut text = table(&header, drains.iter().map(row));
    let nodes = drains.iter().flat_map(|drain| drain.nodes.iter().map(move |node| (drain, node)));
    let row = |(drain, node): (&DrainView, &NodeDrainView)| {
        vec![
            cell(&node.node),
            cell(address(drain.backend)),
            optional(node.connections),
            cell(node.ended),
            cell(node.busy),
            cell(node.resting),
        ]
    };
    if nodes.clone().next().is_some() {
        let header = ["NODE", "BACKEND", "CONNECTIONS", "ENDED", "BUSY", "RESTING"];
        // Writing to a string can't fail.
        let _ = write!(text, "\n{}", table(&header, nodes.map(row)));
    }
    text
}

fn quiet(millis: u64) -> String {
    if millis < 10_000 { format!("{millis}ms") } else { age(millis / 1_000) }
}

fn port(port: &PortView) -> String {
    format!("{}/{}", port.number, port.protocol)
}

fn address(end: EndView) -> SocketAddr {
    SocketAddr::from((end.address, end.port))
}
