//! What a pass chose and what it would choose, as it is shown.

use std::{collections::BTreeSet, time::Duration};

use super::{
    ask::address,
    history::History,
    input::{End, Input, backend},
    movable::Movable,
    plan::Waiting,
};
use crate::{
    balance::{Load, targets},
    maps::pinned::PinnedMaps,
    view::{MoveView, PortView, ShareView, WaitView},
};

/// A connection that is ended; none where its backend or Service port is not known any more.
pub fn move_view(
    input: &Input,
    movable: &Movable,
    maps: &PinnedMaps,
    end: &End,
) -> Option<MoveView> {
    let connection = &input.connections[end.connection];
    let address = address(maps, backend(connection))?;
    Some(MoveView {
        service_port: port_view(movable, end.row)?,
        backend: address.into(),
        client: connection.local.into(),
        pid: connection.tgid,
        reason: end.reason,
        way: end.way,
        idle_ms: end.idle.as_millis() as u64,
    })
}

/// What rests, and not yet for long enough.
pub fn waits(movable: &Movable, waiting: &Waiting) -> Vec<WaitView> {
    let of = |((row, rest), connections): (&(u32, Duration), &usize)| {
        Some(WaitView {
            service_port: port_view(movable, *row)?,
            connections: *connections as u64,
            quiet_ms: rest.as_millis() as u64,
        })
    };
    waiting.iter().filter_map(of).collect()
}

/// The Service port of a row.
pub fn port_view(movable: &Movable, row: u32) -> Option<PortView> {
    let (port, number) = movable.port(row)?;
    Some(PortView { name: port.port.clone(), number: *number, protocol: port.protocol })
}

/// What the backends of rows have and should have.
pub fn shares(
    input: &Input,
    movable: &Movable,
    maps: &PinnedMaps,
    rows: &BTreeSet<u32>,
    history: &History,
) -> Vec<ShareView> {
    let ending = history.ending(input);
    let mut shares = Vec::new();
    for row in rows {
        let Some((found, port)) = input.rows.get(row).zip(port_view(movable, *row)) else {
            continue;
        };
        let load = |(id, weight): (&u32, &u16)| {
            let active = input.active.get(id).copied().unwrap_or_default();
            let ending = ending.get(id).copied().unwrap_or_default();
            // Those of all nodes, where they move together.
            let governed = input.governed.get(row);
            let seats = governed.and_then(|all| all.seats.get(id)).copied().unwrap_or_default();
            let others = governed.and_then(|all| all.others.get(id)).copied().unwrap_or_default();
            let own = active.saturating_sub(ending).saturating_add(seats);
            Load { weight: *weight, connections: own.saturating_add(others) }
        };
        let usable = || found.usable.iter().filter(|(id, _)| !input.suspects.contains(id));
        let loads: Vec<_> = usable().map(load).collect();
        let targets = targets(&loads, history.away(*row));
        for (((id, _), load), target) in usable().zip(loads).zip(targets) {
            let Some(address) = address(maps, *id) else { continue };
            shares.push(ShareView {
                service_port: port.clone(),
                backend: address.into(),
                connections: load.connections,
                target,
            });
        }
    }
    shares.sort_by_key(|share| (share.service_port.number, share.backend));
    shares
}
