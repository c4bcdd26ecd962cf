//! The table of `backends`.

use std::net::SocketAddr;

use balancer_common::policy::DEFAULT_WEIGHT;
use comfy_table::Color;

use super::{
    human::bar,
    table::{cell, optional, state, table},
};
use crate::view::ServiceBackendView;

/// Columns of the bar of connections.
const BAR: u64 = 10;

/// Draws backends, in the order given. Bars compare the backends of one Service port.
pub fn backends(backends: &[ServiceBackendView], wide: bool) -> String {
    let mut header = vec!["NAMESPACE", "SERVICE", "PORT", "BACKEND", "STATE", "CONNECTIONS", ""];
    let is_known = backends.iter().any(|row| row.backend.cluster_active.is_some());
    if is_known {
        header.push("CLUSTER");
    }
    header.push("OPENED");
    if wide {
        header.extend(["FAILED", "SUSPECTED", "WEIGHT", "NODE", "ZONE", "PORT-NAME"]);
    }
    let mut rows = Vec::with_capacity(backends.len());
    for port in backends.chunk_by(same_port) {
        let most = port.iter().map(|row| row.backend.active).max().unwrap_or(0);
        rows.extend(port.iter().map(|row| {
            let backend = &row.backend;
            let mut cells = vec![
                cell(&row.namespace),
                cell(&row.service),
                cell(format!("{}/{}", row.service_port.number, row.service_port.protocol)),
                cell(SocketAddr::from((backend.address, backend.port))),
                state(backend.state),
                cell(backend.active),
                cell(bar(backend.active.into(), most.into(), BAR)).fg(Color::Cyan),
            ];
            if is_known {
                cells.push(optional(backend.cluster_active));
            }
            cells.push(cell(backend.opened_total));
            if wide {
                let name = &row.service_port.name;
                cells.extend([
                    cell(backend.failed_total),
                    cell(backend.suspected_total),
                    optional((backend.weight != DEFAULT_WEIGHT).then_some(backend.weight)),
                    optional(backend.node.as_ref()),
                    optional(backend.zone.as_ref()),
                    optional((!name.is_empty()).then_some(name)),
                ]);
            }
            cells
        }));
    }
    table(&header, rows)
}

fn same_port(a: &ServiceBackendView, b: &ServiceBackendView) -> bool {
    (&a.namespace, &a.service, &a.service_port) == (&b.namespace, &b.service, &b.service_port)
}
