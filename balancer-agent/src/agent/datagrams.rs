//! The loop that looks at connected UDP sockets, beside the one that follows changes: a pod decides how
//! long that takes.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use balancer_common::charge;
use tokio::sync::watch::Receiver;

use super::{
    disconnected::Disconnected,
    handover::{Handover, Look},
    shared::Shared,
    stale,
};
use crate::{
    config::RunConfig,
    maps::{Connected, MapsError, ReadMaps as _, convert, pinned::PinnedMaps, pins::Pins},
    moves::helper::Helper,
};

/// Looks at sockets, and ends charges and sockets.
pub struct Datagrams {
    maps: PinnedMaps,
    helper: Helper,
    disconnected: Disconnected,
}

impl Datagrams {
    /// Opens the maps for itself.
    pub fn new(config: &RunConfig, shared: &Shared) -> Result<Self, MapsError> {
        let maps = PinnedMaps::open(&Pins::new(&config.bpffs), config.capacities)?;
        let watch = Arc::clone(shared.moving().watch());
        let helper = Helper::new(Some(config.cgroup.clone()), watch);
        Ok(Self { maps, helper, disconnected: Disconnected::default() })
    }

    /// Looks until `stopped` turns true.
    pub async fn run(mut self, shared: Arc<Shared>, mut stopped: Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = shared.datagrams().given() => {}
            }
            if let Some(look) = shared.datagrams().take() {
                tokio::task::block_in_place(|| self.pass(&look, shared.datagrams()));
                shared.tell_stuck();
            }
        }
    }

    fn pass(&mut self, look: &Look, handover: &Handover) {
        let (maps, helper) = (&self.maps, &self.helper);
        let peer = |found: &Connected| -> Option<SocketAddr> {
            let backend = maps.backend(charge::backend_of(found.word));
            convert::backend_addr(&backend).map(|backend| backend.addr())
        };
        let still = |left: &[Connected]| handover.still_left(left);
        let left = stale::end(maps, &look.left, peer, still, helper);
        if left.done > 0 {
            tracing::info!(
                sockets = left.done,
                "UDP sockets ended whose backend does not serve them any more"
            );
        }
        for failed in left.failed {
            tracing::warn!(
                "UDP sockets can't be ended: {failed}; their programs wait for answers that won't \
                 come"
            );
        }
        let missing = |searches| helper.missing_udp(searches);
        let gone = self.disconnected.pass(maps, &look.connected, peer, missing, Instant::now());
        if gone.done > 0 {
            tracing::debug!(ended = gone.done, "charges of UDP sockets that are not connected");
        }
        for failed in gone.failed {
            tracing::warn!("UDP sockets can't be listed: {failed}; some may count until closed");
        }
    }
}
