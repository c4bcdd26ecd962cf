//! The table of `peers`.

use std::net::SocketAddr;

use comfy_table::Color;

use super::{
    human::tenths,
    listed::{Column, Listed},
    table::{Sheet, cell, optional},
};
use crate::view::PeerView;

/// Agents of a cluster so large that each may be silent for longest.
const MANY: usize = 100_000;

impl Listed for PeerView {
    const COLUMNS: &'static [Column<Self>] = &[
        ("node", |peer| (&peer.node).into()),
        ("address", |peer| SocketAddr::from((peer.address, peer.port)).into()),
        ("age", |peer| peer.heard_ms.into()),
        ("sent", |peer| peer.sent_total.into()),
        ("received", |peer| peer.received_total.into()),
        ("rejected", |peer| peer.rejected_total.into()),
        ("steward-of", |peer| peer.steward_of.into()),
        ("reported", |peer| peer.reported.into()),
    ];

    fn namespace(&self) -> &str {
        ""
    }

    fn sheet(rows: &[Self], wide: bool) -> Sheet {
        sheet(rows, wide)
    }

    fn id(&self) -> String {
        self.node.clone()
    }

    /// What was sent and heard grows each second.
    fn differs(&self, before: &Self) -> bool {
        fn lasting(peer: &PeerView) -> (bool, SocketAddr, u64, Option<u64>, Option<u8>) {
            let address = SocketAddr::from((peer.address, peer.port));
            let is_heard = !peer.is_silent(MANY);
            (is_heard, address, peer.rejected_total, peer.steward_of, peer.version)
        }
        lasting(self) != lasting(before)
    }
}

fn sheet(peers: &[PeerView], wide: bool) -> Sheet {
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
    Sheet::new(header, peers.iter().map(row).collect())
}
