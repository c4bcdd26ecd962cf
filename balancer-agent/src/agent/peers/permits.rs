//! What the mover asks of the stewards.

use std::collections::BTreeMap;

use super::Peers;
use crate::{
    moves::cluster::Authority,
    peers::node::{Asked, Permitted, Request},
};

impl Peers {
    /// Waits until something was permitted. Cancel-safe.
    pub async fn permitted(&self) {
        self.permitted.notified().await;
    }
}

impl Authority for Peers {
    fn nodes(&self) -> usize {
        let inner = self.inner();
        inner.exchange.as_ref().map_or(1, |exchange| exchange.node().nodes())
    }

    fn others(&self, row: u32) -> Option<BTreeMap<u32, u32>> {
        let inner = self.inner();
        inner.exchange.as_ref()?.node().others_of(self.now(), row)
    }

    fn ask(&self, request: &Request) -> Asked {
        let mut inner = self.inner();
        let Some(exchange) = &mut inner.exchange else { return Asked::Nobody };
        let asks = exchange.node_mut().ask(self.now(), request);
        // This node may be the steward itself.
        let answered = exchange.node().is_permitted();
        drop(inner);
        if answered {
            self.permitted.notify_one();
        }
        self.asked.notify_one();
        asks
    }

    fn permitted(&self) -> Vec<Permitted> {
        let now = self.now();
        let mut inner = self.inner();
        inner.exchange.as_mut().map_or_else(Vec::new, |all| all.node_mut().permitted(now))
    }
}
