//! What stands in the maps of a node.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use balancer_agent::{
    config::Capacities,
    maps::{ClusterCounts as _, ReadMaps as _, convert, pinned::PinnedMaps, pins::Pins},
};
use balancer_lab::{
    Node,
    error::{Error, Result},
};

/// The maps of a node.
pub(super) struct Maps {
    node: String,
    maps: Mutex<PinnedMaps>,
}

/// Identifiers of the backends in the row of a Service, by address.
pub(super) type Row = HashMap<SocketAddr, u32>;

impl Maps {
    pub(super) fn open(node: &Node) -> Result<Self> {
        let pins = Pins::new(&node.bpffs().join("balancer"));
        let node = node.name().to_owned();
        let maps = PinnedMaps::open(&pins, Capacities::MAX);
        Ok(Self { maps: Mutex::new(maps.map_err(|error| unread(&node, &error))?), node })
    }

    /// The row of a Service with one port; empty where there is none.
    pub(super) fn row(&self, service: &str) -> Result<Row> {
        let maps = self.maps();
        let names = maps.names().map_err(|error| unread(&self.node, &error))?;
        let is_it =
            |name: &_| convert::row_id(name).is_some_and(|row| row.port.service.name == service);
        let Some((id, _)) = names.into_iter().find(|(_, name)| is_it(name)) else {
            return Ok(Row::new());
        };
        let row = maps.row(id);
        let ids = (row.base..row.base + row.len).map(|index| maps.slot(index).backend);
        let addressed = ids.filter_map(|id| {
            let addr = convert::backend_addr(&maps.backend(id))?;
            Some((addr.addr(), id))
        });
        Ok(addressed.collect())
    }

    /// Open connections of this node to a backend.
    pub(super) fn active(&self, backend: u32) -> u32 {
        self.maps().active(backend)
    }

    /// Those of all other nodes, as this one has heard.
    pub(super) fn others(&self, backend: u32) -> u32 {
        self.maps().others(backend)
    }

    fn maps(&self) -> MutexGuard<'_, PinnedMaps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unread(node: &str, error: &balancer_agent::maps::MapsError) -> Error {
    Error::Unmet(format!("the maps of {node} can't be read: {error}"))
}
