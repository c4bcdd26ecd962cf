//! The table of `services`.

use std::net::SocketAddr;

use comfy_table::Color;

use super::{
    human::span,
    listed::{Column, Listed},
    table::{Sheet, cell, optional},
};
use crate::view::{BackendState, BackendView, FrontendView, ServiceView};

impl Listed for ServiceView {
    const COLUMNS: &'static [Column<Self>] = &[
        ("namespace", |service| (&service.namespace).into()),
        ("name", |service| (&service.name).into()),
        ("port", |service| u64::from(service.port.number).into()),
        ("policy", |service| (&service.policy).into()),
        ("address", |service| dialled(service).into()),
        ("backends", |service| (ready(service) as u64).into()),
        ("connections", |service| sum(service, |backend| backend.active.into()).into()),
        ("cluster", |service| service.cluster_active().into()),
        ("port-name", |service| port_name(service).into()),
        ("opened", |service| sum(service, |backend| backend.opened_total).into()),
        ("failed", |service| sum(service, |backend| backend.failed_total).into()),
        ("affinity", |service| service.affinity_s.map(u64::from).into()),
        ("slow-start", |service| service.slow_start_s.map(u64::from).into()),
        ("sources", |service| sources(service).into()),
        ("addresses", |service| addresses(service).into()),
    ];

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn sheet(rows: &[Self], wide: bool) -> Sheet {
        sheet(rows, wide)
    }

    fn id(&self) -> String {
        format!("{}/{} {}/{}", self.namespace, self.name, self.port.number, self.port.protocol)
    }

    fn differs(&self, before: &Self) -> bool {
        self != before
    }
}

fn sheet(services: &[ServiceView], wide: bool) -> Sheet {
    let mut header =
        vec!["NAMESPACE", "NAME", "PORT", "POLICY", "ADDRESS", "BACKENDS", "CONNECTIONS"];
    let is_known = services.iter().any(|service| service.cluster_active().is_some());
    if is_known {
        header.push("CLUSTER");
    }
    if wide {
        header.extend([
            "PORT-NAME",
            "OPENED",
            "FAILED",
            "AFFINITY",
            "SLOW-START",
            "SOURCES",
            "ADDRESSES",
        ]);
    }
    let rows = services.iter().map(|service| {
        let usable = service.backends.iter().any(|backend| backend.state.is_usable());
        let mut row = vec![
            cell(&service.namespace),
            cell(&service.name),
            cell(format!("{}/{}", service.port.number, service.port.protocol)),
            cell(&service.policy),
            optional(service.frontends.first().map(|frontend| frontend.address)),
            match (format!("{}/{}", ready(service), service.backends.len()), usable) {
                (ready, true) => cell(ready),
                (ready, false) => cell(ready).fg(Color::Red),
            },
            cell(sum(service, |backend| backend.active.into())),
        ];
        if is_known {
            row.push(optional(service.cluster_active()));
        }
        if wide {
            row.extend([
                optional(port_name(service)),
                cell(sum(service, |backend| backend.opened_total)),
                cell(sum(service, |backend| backend.failed_total)),
                optional(service.affinity_s.map(span)),
                optional(service.slow_start_s.map(span)),
                optional(sources(service)),
                optional(addresses(service)),
            ]);
        }
        row
    });
    let rows = rows.collect();
    Sheet::new(header, rows)
}

fn sum(service: &ServiceView, count: fn(&BackendView) -> u64) -> u64 {
    service.backends.iter().map(count).sum()
}

fn ready(service: &ServiceView) -> usize {
    service.backends.iter().filter(|backend| backend.state == BackendState::Ready).count()
}

fn dialled(service: &ServiceView) -> Option<SocketAddr> {
    service.frontends.first().map(|frontend| (frontend.address, frontend.port).into())
}

fn port_name(service: &ServiceView) -> Option<&String> {
    Some(&service.port.name).filter(|name| !name.is_empty())
}

fn sources(service: &ServiceView) -> Option<String> {
    (!service.source_ranges.is_empty()).then(|| service.source_ranges.join(","))
}

fn addresses(service: &ServiceView) -> Option<String> {
    let all: Vec<_> = service.frontends.iter().map(address).collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn address(frontend: &FrontendView) -> String {
    let dialled = SocketAddr::from((frontend.address, frontend.port));
    format!("{}={dialled}", frontend.r#type)
}
