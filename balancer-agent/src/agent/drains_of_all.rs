//! Drains what is drained on all nodes, and says what is left here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch::Receiver, time::sleep};

use super::{
    drains,
    moving::Drained,
    peers::{Peers, drains::DrainedAll},
    shared::Shared,
};
use crate::{maps::ReadMaps as _, moves::movable::in_use, peers::wire::Left};

/// How often it is looked for what is left.
const LOOK: Duration = Duration::from_millis(500);
/// Over which time connections are ended at least.
const LEAST: Duration = Duration::from_secs(1);

/// Follows until `stopped` turns true.
pub async fn run(shared: Arc<Shared>, peers: Arc<Peers>, mut stopped: Receiver<bool>) {
    loop {
        let is_any = tokio::task::block_in_place(|| follow(&shared, &peers));
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = peers.other_drains() => {}
            () = sleep(LOOK), if is_any => {}
        }
    }
}

/// Drains here what is drained on all nodes, and says what is left. True where something is.
pub fn follow(shared: &Shared, peers: &Peers) -> bool {
    let all = peers.drained();
    let moving = shared.moving();
    let here: BTreeSet<_> = moving.drained_here().into_keys().collect();
    let followed = if all.is_empty() {
        BTreeSet::new()
    } else {
        let backends = all.iter().map(|found| found.backend);
        drains::followed(backends, &shared.desired(), &here)
    };
    let drained = |found: &DrainedAll| {
        let over = found.over.saturating_sub(found.age).max(LEAST);
        (found.backend, Drained { since: found.since, over })
    };
    let mine = all.iter().filter(|found| followed.contains(&found.backend));
    moving.follow(mine.map(drained).collect());
    if all.is_empty() {
        return false;
    }
    let left = left(shared, &all);
    let refused = |backend| !followed.contains(backend) && !here.contains(backend);
    let left_out = moving.left_out();
    let said = all.iter().filter_map(|found| {
        let left = left.get(&found.backend).copied().unwrap_or_default();
        let refused = refused(&found.backend);
        // Before rows are without it, it may get connections, and "nothing" would be too early.
        let is_certain = left.open > 0 || refused || left_out.contains(&found.backend);
        is_certain.then_some(Left { id: found.id, refused, ..left })
    });
    peers.leave(said.collect());
    true
}

/// What is open to backends that are drained, and why.
fn left(shared: &Shared, all: &[DrainedAll]) -> BTreeMap<SocketAddr, Left> {
    let ids = in_use(shared.maps());
    let ended = shared.moving().since();
    let hindered = shared.moving().hindered();
    let left = |found: &DrainedAll| {
        let id = *ids.get(&found.backend)?;
        let open = shared.maps().active(id);
        let ended = drains::ended(ended.keys().copied(), id, open);
        let hindered = hindered.get(&id).copied().unwrap_or_default();
        let (busy, resting) = (hindered.busy, hindered.resting);
        Some((found.backend, Left { open, ended, busy, resting, ..Left::default() }))
    };
    all.iter().filter_map(left).collect()
}
