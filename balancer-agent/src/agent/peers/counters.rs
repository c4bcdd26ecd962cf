//! The rows of the maps and their counters, as the peers are told of them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use balancer_common::policy::Policy;

use crate::{
    maps::{MapsError, ReadMaps},
    peers::{
        name::ServiceId,
        node::Node,
        own::{Row, RowBackend},
    },
    plan::{convert, rows::RowId},
};

/// Least time between two looks at all rows: changes come in bursts.
const RENEW: Duration = Duration::from_millis(200);
/// At every which look connections are found that came and went between two looks.
const TOTALS: u32 = 10;

/// Counters of the maps that somebody may want to know.
pub struct Counters<M> {
    maps: M,
    /// Backends of the rows: identifier, open connections, and how many were ever opened.
    seen: Vec<(u32, Option<u32>, u64)>,
    renewed: Option<Duration>,
    looks: u32,
}

impl<M: ReadMaps> Counters<M> {
    /// Nothing is known yet.
    pub const fn new(maps: M) -> Self {
        Self { maps, seen: Vec::new(), renewed: None, looks: 0 }
    }

    /// True if the rows were not read just now.
    pub fn may_renew(&self, now: Duration) -> bool {
        self.renewed.is_none_or(|at| at + RENEW <= now)
    }

    /// Reads the rows. Those that left stay known for as long as their connections may count.
    ///
    /// # Errors
    ///
    /// Where the maps can't be read; everything is as before then.
    pub fn renew(&mut self, now: Duration) -> Result<Vec<Row>, MapsError> {
        let mut rows = Vec::new();
        let known: HashMap<u32, (Option<u32>, u64)> =
            self.seen.iter().map(|(id, active, opened)| (*id, (*active, *opened))).collect();
        let mut seen: BTreeMap<u32, (Option<u32>, u64)> = BTreeMap::new();
        for (id, name) in self.maps.names()? {
            let Some(RowId { port, family, .. }) = convert::row_id(&name) else { continue };
            let row = self.maps.row(id);
            let settings = self.maps.settings(id);
            let slots = (row.base..row.base + row.len).map(|index| self.maps.slot(index));
            let backends = slots.filter_map(|slot| {
                let addr = convert::backend_addr(&self.maps.backend(slot.backend))?;
                Some(RowBackend { id: slot.backend, addr, weight: slot.weight })
            });
            let weighted = settings.policy == Policy::WeightedLeastConnections;
            let row = Row {
                id,
                service: ServiceId::of(&port, family),
                weighted: weighted || settings.slow_start > 0,
                backends: backends.collect(),
            };
            for backend in &row.backends {
                let before = known.get(&backend.id).copied();
                seen.insert(backend.id, before.unwrap_or_default());
            }
            rows.push(row);
        }
        // What has left its row may have connections still.
        let open = known.iter().filter(|(_, (active, _))| active.is_some_and(|active| active > 0));
        for (id, before) in open {
            seen.entry(*id).or_insert(*before);
        }
        self.seen = seen.into_iter().map(|(id, (active, opened))| (id, active, opened)).collect();
        self.renewed = Some(now);
        Ok(rows)
    }

    /// Tells a node of every counter that has changed.
    pub fn look(&mut self, now: Duration, node: &mut Node) {
        self.looks = self.looks.wrapping_add(1);
        let totals = self.looks.is_multiple_of(TOTALS);
        for (id, seen, opened) in &mut self.seen {
            let active = self.maps.active(*id);
            if *seen == Some(active) && !totals {
                continue;
            }
            let total = self.maps.backend(*id).opened;
            if *seen != Some(active) || *opened != total {
                (*seen, *opened) = (Some(active), total);
                node.observe(now, *id, active, total);
            }
        }
    }
}
