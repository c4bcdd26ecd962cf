//! The table of `backends`.

use std::{collections::BTreeMap, net::SocketAddr};

use balancer_common::policy::DEFAULT_WEIGHT;
use comfy_table::Color;

use super::{
    human::bar,
    listed::{Column, Listed},
    table::{Sheet, cell, optional, state},
};
use crate::{model::Protocol, view::ServiceBackendView};

/// Columns of the bar of connections.
const BAR: u64 = 10;

impl Listed for ServiceBackendView {
    const COLUMNS: &'static [Column<Self>] = &[
        ("namespace", |row| (&row.namespace).into()),
        ("service", |row| (&row.service).into()),
        ("port", |row| u64::from(row.service_port.number).into()),
        ("backend", |row| SocketAddr::from((row.backend.address, row.backend.port)).into()),
        ("state", |row| (row.backend.state as u64).into()),
        ("connections", |row| u64::from(row.backend.active).into()),
        ("cluster", |row| row.backend.cluster_active.into()),
        ("opened", |row| row.backend.opened_total.into()),
        ("failed", |row| row.backend.failed_total.into()),
        ("suspected", |row| u64::from(row.backend.suspected_total).into()),
        ("weight", |row| u64::from(row.backend.weight).into()),
        ("node", |row| row.backend.node.as_ref().into()),
        ("zone", |row| row.backend.zone.as_ref().into()),
        ("port-name", |row| port_name(row).into()),
    ];

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn sheet(rows: &[Self], wide: bool) -> Sheet {
        sheet(rows, wide)
    }

    fn id(&self) -> String {
        let (namespace, service, number, protocol) = port(self);
        let backend = SocketAddr::from((self.backend.address, self.backend.port));
        format!("{namespace}/{service} {number}/{protocol} {backend}")
    }

    fn differs(&self, before: &Self) -> bool {
        self != before
    }
}

/// Bars compare the backends of one Service port, wherever sorting has put them.
fn sheet(backends: &[ServiceBackendView], wide: bool) -> Sheet {
    let mut header = vec!["NAMESPACE", "SERVICE", "PORT", "BACKEND", "STATE", "CONNECTIONS", ""];
    let is_known = backends.iter().any(|row| row.backend.cluster_active.is_some());
    if is_known {
        header.push("CLUSTER");
    }
    header.push("OPENED");
    if wide {
        header.extend(["FAILED", "SUSPECTED", "WEIGHT", "NODE", "ZONE", "PORT-NAME"]);
    }
    let is_drained = backends.iter().any(|row| row.backend.drained_by.is_some());
    if is_drained {
        header.push("DRAINED-BY");
    }
    let mut most = BTreeMap::new();
    for row in backends {
        let most = most.entry(port(row)).or_insert(0);
        *most = row.backend.active.max(*most);
    }
    let row = |row: &ServiceBackendView| {
        let backend = &row.backend;
        let mut cells = vec![
            cell(&row.namespace),
            cell(&row.service),
            cell(format!("{}/{}", row.service_port.number, row.service_port.protocol)),
            cell(SocketAddr::from((backend.address, backend.port))),
            state(backend.state),
            cell(backend.active),
            cell(bar(backend.active.into(), most[&port(row)].into(), BAR)).fg(Color::Cyan),
        ];
        if is_known {
            cells.push(optional(backend.cluster_active));
        }
        cells.push(cell(backend.opened_total));
        if wide {
            cells.extend([
                cell(backend.failed_total),
                cell(backend.suspected_total),
                optional((backend.weight != DEFAULT_WEIGHT).then_some(backend.weight)),
                optional(backend.node.as_ref()),
                optional(backend.zone.as_ref()),
                optional(port_name(row)),
            ]);
        }
        if is_drained {
            cells.push(optional(backend.drained_by.as_ref()));
        }
        cells
    };
    let rows = backends.iter().map(row).collect();
    Sheet::new(header, rows)
}

fn port_name(row: &ServiceBackendView) -> Option<&String> {
    Some(&row.service_port.name).filter(|name| !name.is_empty())
}

fn port(row: &ServiceBackendView) -> (&str, &str, u16, Protocol) {
    (&row.namespace, &row.service, row.service_port.number, row.service_port.protocol)
}
