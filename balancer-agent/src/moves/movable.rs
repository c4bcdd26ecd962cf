//! Rows and backends, as far as connections may have to be moved there. Learned anew after changes
//! of what is desired, and not at every pass.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use balancer_common::{layout::Backend, policy::Policy as Choice, suspect};

use super::{
    input::{Input, Leaving, Row},
    policy::Policy,
};
use crate::{
    desired::{BackendAddr, Desired, DesiredPort, PortId},
    maps::{MapsError, ReadMaps, convert, identity::RowId, pinned::PinnedMaps},
    model::{Moving, ObjectRef, Protocol},
};

/// Backends that were drained by hand, and over which time what is open is ended.
pub type Drained = BTreeMap<SocketAddr, Duration>;

/// What somebody asked for, beside the policies.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Backends that are drained.
    pub drained: Drained,
    /// Services whose connections are moved to where there are fewer.
    pub services: BTreeSet<ObjectRef>,
}

/// What is known until the next change.
#[derive(Clone, Debug, Default)]
pub struct Movable {
    /// Rows with connections that may have to be moved, by identifier.
    rows: Arc<BTreeMap<u32, Row>>,
    /// Their Service ports.
    ports: BTreeMap<u32, (PortId, u16)>,
}

impl Movable {
    /// Looks at what is desired and what the maps hold of it. Where the source may lack objects,
    /// nothing is taken for gone. While it looks at what is desired it makes no system call, and
    /// does not go through all backends and connections: those who change that wait meanwhile.
    pub fn learn<D: Deref<Target = Desired>>(
        maps: &impl ReadMaps,
        desired: impl Fn() -> D,
        cluster: &Moving,
        asked: &Asked,
        lacking: bool,
    ) -> Result<Self, MapsError> {
        let in_use = in_use(maps);
        let left = if lacking { BTreeMap::new() } else { left(maps) };
        let policy = |id: &PortId, port: &DesiredPort| {
            let policy = Policy::of(port.moving.as_deref(), cluster, port.requests_only);
            let matters = policy.is_active()
                || !(left.is_empty() && asked.drained.is_empty())
                || asked.services.contains(&id.service);
            (id.protocol == Protocol::Tcp && matters).then_some(policy)
        };
        let mut movable = Self::default();
        if !desired().ports.iter().any(|(id, port)| policy(id, port).is_some()) {
            return Ok(movable);
        }
        let names = maps.names()?;
        let mut rows = BTreeMap::new();
        let desired = desired();
        for (id, name) in names {
            let Some(RowId { port, .. }) = convert::row_id(&name) else { continue };
            // Of a Service that is gone nothing could be opened again.
            let Some(wanted) = desired.ports.get(&port) else { continue };
            let Some(policy) = policy(&port, wanted) else { continue };
            let mut row = row(maps, id, policy, wanted);
            leaving(&mut row, wanted, &in_use, &asked.drained);
            if let Some(left) = left.get(&id) {
                gone(&mut row, wanted, left, maps);
            }
            let is_asked = asked.services.contains(&port.service);
            if policy.is_active() || is_asked || !row.leaving.is_empty() {
                rows.insert(id, row);
                movable.ports.insert(id, (port, name.port));
            }
        }
        movable.rows = Arc::new(rows);
        Ok(movable)
    }

    /// True if no connection may have to be moved.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The Service port of a row, and its number.
    pub fn port(&self, row: u32) -> Option<&(PortId, u16)> {
        self.ports.get(&row)
    }

    /// The rows of a Service.
    pub fn rows_of(&self, service: &ObjectRef) -> BTreeSet<u32> {
        let of = self.ports.iter().filter(|(_, (port, _))| port.service == *service);
        of.map(|(id, _)| *id).collect()
    }

    /// This moment, with all connections of the rows in `whole`, whatever their policy.
    pub fn input(&self, maps: &PinnedMaps, now: Duration, whole: &BTreeSet<u32>) -> Input {
        let connections = maps.connections(|service, backend| {
            self.rows.get(&service).is_some_and(|row| {
                row.policy.is_active()
                    // Where nothing but what leaves matters, only connections to that do.
                    || row.leaving.contains_key(&backend)
                    || whole.contains(&service)
            })
        });
        let live: BTreeSet<u32> = connections.iter().map(|connection| connection.service).collect();
        let usable: BTreeSet<u32> = live
            .iter()
            .filter_map(|id| self.rows.get(id))
            .flat_map(|row| row.usable.keys().copied())
            .collect();
        let is_neglected = |id: &u32| {
            let Backend { suspect_until, failures, .. } = maps.backend(*id);
            suspect::is_neglected(suspect_until, failures, now.as_nanos() as u64)
        };
        let all = usable.iter().copied().filter(|id| maps.is_suspect(*id));
        let (neglected, suspects): (BTreeSet<u32>, _) = all.partition(is_neglected);
        Input {
            now,
            rows: Arc::clone(&self.rows),
            connections,
            suspects,
            neglected,
            active: usable.iter().map(|id| (*id, maps.active(*id))).collect(),
            opened: usable.iter().map(|id| (*id, maps.backend(*id).opened)).collect(),
            governed: BTreeMap::new(),
        }
    }
}

/// TCP backends with open connections, and their identifiers.
pub fn in_use(maps: &impl ReadMaps) -> HashMap<SocketAddr, u32> {
    (1..maps.limits().backends)
        .filter(|id| maps.active(*id) > 0)
        .filter_map(|id| Some((convert::backend_addr(&maps.backend(id))?, id)))
        .filter(|(backend, _)| backend.protocol == Protocol::Tcp)
        .map(|(backend, id)| (backend.addr(), id))
        .collect()
}

/// Backends with connections of a Service port whose row does not name them, by the identifier of
/// the row.
fn left(maps: &impl ReadMaps) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut left: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (service, backend) in maps.charged() {
        left.entry(service).or_default().insert(backend);
    }
    left.retain(|service, backends| {
        let row = maps.row(*service);
        for slot in maps.slots(row) {
            backends.remove(&slot.backend);
        }
        !backends.is_empty()
    });
    left
}

/// Those of them that no EndpointSlice of the Service has, ready or not, whatever others have.
fn gone(row: &mut Row, port: &DesiredPort, left: &BTreeSet<u32>, maps: &impl ReadMaps) {
    let Some(after) = row.policy.stale else { return };
    let known: BTreeSet<&BackendAddr> = port.endpoints().map(|(backend, _)| backend).collect();
    let is_gone = |id: &&u32| {
        convert::backend_addr(&maps.backend(**id)).is_some_and(|addr| !known.contains(&addr))
    };
    row.leaving.extend(left.iter().filter(is_gone).map(|id| (*id, Leaving::Gone(after))));
}

fn row(maps: &impl ReadMaps, id: u32, policy: Policy, port: &DesiredPort) -> Row {
    let slots = maps.slots(maps.row(id));
    let weighs = port.options.policy == Choice::WeightedLeastConnections;
    Row {
        policy,
        exact: is_exact(port),
        slow_start: Duration::from_secs(port.options.slow_start.into()),
        usable: slots.map(|slot| (slot.backend, if weighs { slot.weight } else { 1 })).collect(),
        leaving: BTreeMap::new(),
    }
}

/// True if what is opened goes to the backend with the fewest.
fn is_exact(port: &DesiredPort) -> bool {
    port.options.policy.chooses_least() && port.options.affinity == 0
}

/// Backends of a row that new connections don't go to any more.
fn leaving(
    row: &mut Row,
    port: &DesiredPort,
    in_use: &HashMap<SocketAddr, u32>,
    drained: &Drained,
) {
    for (backend, details) in port.endpoints() {
        let addr = backend.addr();
        let Some(id) = in_use.get(&addr).filter(|id| !row.usable.contains_key(id)) else {
            continue;
        };
        let over = drained.get(&addr).copied().or(row.policy.drain.filter(|_| details.terminating));
        if let Some(over) = over {
            row.leaving.insert(*id, Leaving::Draining(over));
        }
    }
}
