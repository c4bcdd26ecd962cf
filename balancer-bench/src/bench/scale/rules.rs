//! The same Services as kube-proxy's rules.

use std::time::Instant;

use balancer_lab::{
    Lab,
    error::Result,
    kubeproxy::{self, iptables, nftables},
};
use indicatif::ProgressBar;

use crate::bench::{
    report::{Cell, Column, Table},
    variant::Variant,
};

/// How long each takes to load all at once. kube-proxy does so at its start, and writes what differs
/// afterwards.
pub(super) fn table(
    lab: &Lab,
    services: u32,
    endpoints: u32,
    progress: &ProgressBar,
) -> Result<Table> {
    let all = kubeproxy::filler(services, endpoints);
    let mut rows = Vec::new();
    for variant in [Variant::Nftables, Variant::IptablesLegacy, Variant::IptablesNft] {
        progress.set_message(format!("load: {}", variant.name()));
        if !variant.works(lab.node()) {
            rows.push(vec![variant.name().into(), Cell::Absent]);
            continue;
        }
        let started = Instant::now();
        match variant {
            Variant::IptablesLegacy => {
                iptables::load(lab.node(), iptables::Variant::Legacy, &all)?;
            }
            Variant::IptablesNft => iptables::load(lab.node(), iptables::Variant::Nft, &all)?,
            _ => nftables::load(lab.node(), &all)?,
        }
        rows.push(vec![
            variant.name().into(),
            Cell::Number(started.elapsed().as_secs_f64() * 1e3, 0),
        ]);
    }
    Ok(Table {
        caption: "The same as rules".into(),
        columns: vec![
            Column { key: "rules", head: "rules" },
            Column { key: "load_ms", head: "loading all of them (ms)" },
        ],
        rows,
    })
}
