//! What a pass chose and what it would choose, as it is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ask::address,
    balance::{Load, targets},
    memory::Memory,
    scene::{End, Scene, backend},
    terrain::Terrain,
};
use crate::{
    maps::pinned::PinnedMaps,
    view::{EndView, MoveView, PortView, ShareView, WaitView},
};

/// A connection that is ended; none where its backend or Service port is not known any more.
pub fn move_view(
    scene: &Scene,
    terrain: &Terrain,
    maps: &PinnedMaps,
    end: &End,
) -> Option<MoveView> {
    let connection = &scene.connections[end.connection];
    let address = address(maps, backend(connection))?;
    Some(MoveView {
        service_port: port_view(terrain, end.row)?,
        backend: EndView { address: address.ip(), port: address.port() },
        client: EndView { address: connection.local.ip(), port: connection.local.port() },
        pid: connection.tgid,
        reason: end.reason,
        way: end.way,
        idle_ms: end.idle.as_millis() as u64,
    })
}

/// What rests, and not yet for the quiet time of its Service port.
pub fn waits(scene: &Scene, terrain: &Terrain, waiting: &BTreeMap<u32, usize>) -> Vec<WaitView> {
    let of = |(row, connections): (&u32, &usize)| {
        Some(WaitView {
            service_port: port_view(terrain, *row)?,
            connections: *connections as u64,
            quiet_ms: scene.rows.get(row)?.policy.quiet.as_millis() as u64,
        })
    };
    waiting.iter().filter_map(of).collect()
}

fn port_view(terrain: &Terrain, row: u32) -> Option<PortView> {
    let (port, number) = terrain.port(row)?;
    Some(PortView { name: port.port.clone(), number: *number, protocol: port.protocol })
}

/// What the backends of rows have and should have.
pub fn shares(
    scene: &Scene,
    terrain: &Terrain,
    maps: &PinnedMaps,
    rows: &BTreeSet<u32>,
    memory: &Memory,
) -> Vec<ShareView> {
    let ending = memory.ending(scene);
    let mut shares = Vec::new();
    for row in rows {
        let Some((found, port)) = scene.rows.get(row).zip(port_view(terrain, *row)) else {
            continue;
        };
        let load = |(id, weight): (&u32, &u16)| {
            let active = scene.active.get(id).copied().unwrap_or_default();
            let ending = ending.get(id).copied().unwrap_or_default();
            Load { weight: *weight, connections: active.saturating_sub(ending) }
        };
        let usable = || found.usable.iter().filter(|(id, _)| !scene.suspects.contains(id));
        let loads: Vec<_> = usable().map(load).collect();
        let targets = targets(&loads, memory.away(*row));
        for (((id, _), load), target) in usable().zip(loads).zip(targets) {
            let Some(address) = address(maps, *id) else { continue };
            shares.push(ShareView {
                service_port: port.clone(),
                backend: EndView { address: address.ip(), port: address.port() },
                connections: load.connections,
                target,
            });
        }
    }
    shares.sort_by_key(|share| (share.service_port.number, share.backend));
    shares
}
