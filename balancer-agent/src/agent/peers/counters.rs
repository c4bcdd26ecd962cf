//! The rows of the maps and their counters, as the peers are told of them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use balancer_common::layout::{Level, MILLISECOND_NS};

use crate::{
    maps::{ClusterCounts, MapsError, ReadMaps, convert, identity::RowId},
    peers::{
        name::ServiceId,
        node::{Node, Words},
        own::{Row, RowBackend},
    },
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

impl<M: ReadMaps + ClusterCounts> Counters<M> {
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
            let row = Row {
                id,
                service: ServiceId::of(&port, family),
                weighted: settings.weighs(),
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

    /// Writes what follows from what the others have said. Programs believe it for 3 s from when it was
    /// said, not from now: a steward that falls silent is not believed longer because this node has opened
    /// connections since.
    pub fn write(&self, now: Duration, words: &Words) {
        for (backend, connections) in &words.others {
            self.maps.set_others(*backend, *connections);
        }
        for (row, level, told) in &words.levels {
            let age = now.saturating_sub(*told).as_nanos() / u128::from(MILLISECOND_NS);
            // 0 stands for no level.
            let fresh_ms = self.maps.now_ms().wrapping_sub(age as u32).max(1);
            let (floor, span) = (level.floor, level.span);
            self.maps.set_level(*row, Level { floor, span, fresh_ms });
        }
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

#[cfg(test)]
mod tests {
    use balancer_common::{
        layout::{Row as MapRow, Slot},
        policy::Policy,
    };

    use super::*;
    use crate::{
        desired::{BackendAddr, PortId},
        maps::{
            Limits, Settings, WriteMaps as _,
            identity::{Family, Scope},
            in_memory::InMemoryMaps,
        },
        model::{ObjectRef, Protocol},
        peers::{name::NodeId, wire::Section},
    };

    const LIMITS: Limits = Limits { services: 4, frontends: 4, backends: 8, slots: 16 };

    fn addr(last: u8) -> BackendAddr {
        BackendAddr::new(([10, 0, 0, last], 80).into(), Protocol::Tcp)
    }

    fn port() -> PortId {
        let service = ObjectRef { namespace: "shop".into(), name: "web".into() };
        PortId { service, port: String::new(), protocol: Protocol::Tcp }
    }

    /// Row 1 with the first so many backends, of weights 10, 20, ...
    fn set_row(maps: &mut InMemoryMaps, len: u32) {
        for id in 1..=len {
            let slot = Slot { backend: id, weight: 10 * id as u16, salt: 0 };
            maps.set_slot(id - 1, slot);
        }
        maps.set_row(1, MapRow { base: 0, len });
    }

    fn maps() -> InMemoryMaps {
        let mut maps = InMemoryMaps::new(LIMITS);
        for id in 1..=3 {
            let (words, port, protocol) = convert::backend(addr(id as u8));
            maps.put_backend(id, words, port, protocol);
        }
        set_row(&mut maps, 2);
        let policy = Policy::WeightedLeastConnections;
        maps.set_settings(1, Settings { policy, ..Settings::default() });
        let row = RowId { port: port(), family: Family::V4, scope: Scope::Internal };
        maps.put_name(1, &convert::name(&row, 80)).unwrap();
        maps
    }

    /// What a node says to its only peer.
    fn said(node: &mut Node, now: Duration) -> Vec<(BackendAddr, u32)> {
        node.heard(now, NodeId(2));
        let sections = node.due(now).into_values().flat_map(|letter| letter.sections);
        let counts = sections.flat_map(|section| match section {
            Section::Hello(_) => Vec::new(),
            Section::Report(report) => report.counts,
            Section::Totals(totals) => totals.counts,
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    #[test]
    fn rows_and_counters_are_those_of_the_maps() {
        let mut counters = Counters::new(maps());
        let at = Duration::from_secs;
        assert!(counters.may_renew(at(0)));
        let rows = counters.renew(at(0)).unwrap();
        let backend =
            |id: u8| RowBackend { id: id.into(), addr: addr(id), weight: 10 * u16::from(id) };
        let service = ServiceId::of(&port(), Family::V4);
        let backends = vec![backend(1), backend(2)];
        assert_eq!(rows, [Row { id: 1, service, weighted: true, backends }]);
        assert!(!counters.may_renew(Duration::from_millis(199)));

        let mut node = Node::new(NodeId(1));
        node.set_peers(at(0), [NodeId(2)]);
        node.set_rows(at(0), rows);
        counters.look(at(0), &mut node);
        counters.maps.set_active(2, 3);
        // One that is in no row is nobody's business.
        counters.maps.set_active(3, 9);
        counters.look(at(1), &mut node);
        said(&mut node, at(1));
        assert_eq!(said(&mut node, at(3)), [(addr(2), 3)]);
        // It leaves its row with connections, which end.
        set_row(&mut counters.maps, 1);
        node.set_rows(at(4), counters.renew(at(4)).unwrap());
        counters.maps.set_active(2, 1);
        counters.look(at(5), &mut node);
        assert_eq!(said(&mut node, at(5)), [(addr(2), 1)]);
    }

    /// The programs weigh by these settings, and read the level in that unit.
    #[test]
    fn the_unit_of_a_row_follows_its_settings() {
        let mut maps = maps();
        let level = Level { floor: 1, span: 1, fresh_ms: 1 };
        let settings = |policy, slow_start, keeps_suspects| Settings {
            policy,
            slow_start,
            keeps_suspects,
            ..Settings::default()
        };
        for (settings, weighted) in [
            (settings(Policy::LeastConnections, 0, true), true),
            (settings(Policy::Random, 30, true), false),
            (settings(Policy::RoundRobin, 30, false), false),
            (settings(Policy::LeastConnections, 0, false), false),
            (settings(Policy::LeastConnections, 30, false), true),
        ] {
            let before = maps.settings(1).weighs();
            maps.set_level(1, level);
            maps.set_settings(1, settings);
            assert_eq!(maps.level(1).is_some(), before == weighted, "{settings:?}");
            let mut counters = Counters::new(maps);
            assert_eq!(counters.renew(Duration::ZERO).unwrap()[0].weighted, weighted);
            maps = counters.maps;
        }
    }

    #[test]
    fn words_are_as_old_as_what_was_said() {
        let mut counters = Counters::new(maps());
        counters.maps.now_ms = 10_000;
        let level = crate::peers::level::Level { floor: 255, span: 256 };
        let words = Words {
            others: vec![(1, 7), (2, 0)],
            levels: vec![(1, level, Duration::from_secs(8))],
        };
        counters.write(Duration::from_secs(10), &words);
        assert_eq!([1, 2].map(|id| counters.maps.others(id)), [7, 0]);
        let written = counters.maps.level(1).expect("a level");
        // 2 s ago, in units of 2 to the power of 20 nanoseconds.
        assert_eq!((written.floor, written.span, written.fresh_ms), (255, 256, 10_000 - 1_907));
    }
}
