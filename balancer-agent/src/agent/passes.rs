//! The loop that moves connections, beside the one that follows changes: looking at processes and
//! sockets must not keep changes from the maps.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch::Receiver;

use super::{journal::Event, shared::Shared};
use crate::{model::ObjectRef, node::clock::now, view::EventKind};

/// What passes at least before a change is looked at: they come in bursts.
const LEAST: Duration = Duration::from_millis(100);
/// What passes at most: the log waits for it.
const MOST: Duration = Duration::from_secs(10);

/// Moves connections until `stopped` turns true.
pub async fn run(shared: Arc<Shared>, mut stopped: Receiver<bool>) {
    let moving = shared.moving();
    loop {
        let pause = tokio::task::block_in_place(|| pass(&shared));
        let woken = async {
            tokio::time::sleep(pause.min(LEAST)).await;
            tokio::select! {
                () = tokio::time::sleep(pause.saturating_sub(LEAST)) => {}
                () = moving.woken() => {}
                () = permitted(&shared) => {}
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = woken => {}
        }
    }
    log(&shared, moving.tally().rest());
}

/// Waits until the steward of a Service port has permitted something.
async fn permitted(shared: &Shared) {
    match shared.peers() {
        Some(peers) => peers.permitted().await,
        None => std::future::pending().await,
    }
}

fn pass(shared: &Shared) -> Duration {
    let moving = shared.moving();
    let mut mover = moving.mover();
    if let Some(lacking) = moving.news() {
        let drained = moving.drained().into_iter().map(|(addr, drain)| (addr, drain.over));
        mover.drain(drained.collect());
        if let Err(error) = mover.learn(|| shared.desired(), lacking) {
            tracing::warn!("{error}; connections are moved as before");
            moving.look_again();
        }
    }
    let pause = mover.pass().unwrap_or(MOST).min(MOST);
    drop(mover);
    log(shared, moving.tally().lines(now()));
    shared.tell_stuck();
    pause
}

fn log(shared: &Shared, lines: Vec<(ObjectRef, String)>) {
    for (service, ended) in lines {
        tracing::info!(%service, "connections ended: {ended}");
        let text = format!("connections ended: {ended}");
        shared.journal().note([Event::of(EventKind::Moves, service, text)]);
    }
}
