//! The table of `peers`.

use std::net::SocketAddr;

use comfy_table::Color;

use super::{
    human::tenths,
    table::{cell, optional, table},
};
use crate::view::PeerView;

/// Draws peers, in the order given.
pub fn peers(peers: &[PeerView], wide: bool) -> String {
    let mut header =
        vec!["NODE", "ADDRESS", "HEARD", "AGE", "SENT", "RECEIVED", "REJECTED", "STEWARD-OF"];
    if wide {
        header.extend(["REPORTED", "VERSION"]);
    }
    let row = |peer: &PeerView| {
        let heard = match (peer.this_node, peer.heard_ms) {
            (true, _) => cell("this node"),
            (false, None) => cell("never").fg(Color::Red),
            (false, Some(_)) if peer.is_silent(peers.len()) => cell("silent").fg(Color::Yellow),
            (false, Some(_)) => cell("yes").fg(Color::Green),
        };
        let mut cells = vec![
            cell(&peer.node),
            cell(SocketAddr::from((peer.address, peer.port))),
            heard,
            optional(peer.heard_ms.map(tenths)),
            cell(peer.sent_total),
            cell(peer.received_total),
            match peer.rejected_total {
                0 => cell(0),
                total => cell(total).fg(Color::Yellow),
            },
            optional(peer.steward_of),
        ];
        if wide {
            cells.push(optional(peer.reported));
            cells.push(optional(peer.version.map(|version| format!("{version}, refused"))));
        }
        cells
    };
    table(&header, peers.iter().map(row))
}
