//! The table of `services`.

use comfy_table::Color;

use super::{
    human::span,
    table::{cell, optional, table},
};
use crate::view::{BackendState, FrontendView, ServiceView};

/// Draws Service ports, in the order given.
pub fn services(services: &[ServiceView], wide: bool) -> String {
    let mut header =
        vec!["NAMESPACE", "NAME", "PORT", "POLICY", "ADDRESS", "BACKENDS", "CONNECTIONS"];
    let is_known = services.iter().any(|service| cluster(service).is_some());
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
        let sum = |count: fn(&crate::view::BackendView) -> u64| {
            service.backends.iter().map(count).sum::<u64>()
        };
        let ready = service.backends.iter().filter(|b| b.state == BackendState::Ready).count();
        let usable = service.backends.iter().any(|backend| backend.state.is_usable());
        let mut row = vec![
            cell(&service.namespace),
            cell(&service.name),
            cell(format!("{}/{}", service.port.number, service.port.protocol)),
            cell(&service.policy),
            optional(service.frontends.first().map(|frontend| frontend.address)),
            match (format!("{ready}/{}", service.backends.len()), usable) {
                (ready, true) => cell(ready),
                (ready, false) => cell(ready).fg(Color::Red),
            },
            cell(sum(|b| b.active.into())),
        ];
        if is_known {
            row.push(optional(cluster(service)));
        }
        if wide {
            let name = &service.port.name;
            let addresses: Vec<_> = service.frontends.iter().map(address).collect();
            row.extend([
                optional((!name.is_empty()).then_some(name)),
                cell(sum(|b| b.opened_total)),
                cell(sum(|b| b.failed_total)),
                optional(service.affinity_s.map(span)),
                optional(service.slow_start_s.map(span)),
                optional(
                    (!service.source_ranges.is_empty()).then(|| service.source_ranges.join(",")),
                ),
                optional((!addresses.is_empty()).then(|| addresses.join(","))),
            ]);
        }
        row
    });
    table(&header, rows)
}

/// Connections of all nodes, where they are known of every backend.
fn cluster(service: &ServiceView) -> Option<u64> {
    let known = service.backends.iter().map(|backend| backend.cluster_active);
    known.sum::<Option<u64>>().filter(|_| !service.backends.is_empty())
}

fn address(frontend: &FrontendView) -> String {
    let dialled = std::net::SocketAddr::from((frontend.address, frontend.port));
    format!("{}={dialled}", frontend.r#type)
}
