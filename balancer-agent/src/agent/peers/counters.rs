//! The rows of the maps and their counters, as the peers are told of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use balancer_common::{
    layout::{Level, MILLISECOND_NS, PAD_BACKEND},
    verdict::Verdict,
};

use crate::{
    maps::{ClusterCounts, KeepSeats, MapsError, ReadMaps, convert, identity::RowId},
    moves::corrections::{Corrected, Corrections},
    peers::{
        name::ServiceId,
        node::Words,
        own::{Row, RowBackend, ServiceRows},
    },
};

/// Least time between two looks at all rows: changes come in bursts.
const RENEW: Duration = Duration::from_millis(200);
/// Most time between two looks where the maps can't be read; it doubles from one to the next.
const MOST_RENEW: Duration = Duration::from_secs(10);
/// At every which look connections are found that came and went between two looks.
const TOTALS: u32 = 10;

/// Rows and counters of the maps that somebody may want to know. What has not changed costs a load
/// for each row and each backend.
pub struct Counters<M> {
    maps: M,
    rows: BTreeMap<u32, Row>,
    /// What the maps had last for every identifier of a row, in use or not.
    words: Vec<(u64, bool)>,
    /// Rows of each Service port.
    of: BTreeMap<ServiceId, BTreeSet<u32>>,
    /// Service ports whose rows have changed since they were given.
    changed: BTreeSet<ServiceId>,
    /// By identifier of the backend: open connections, and how many were ever opened.
    active: Vec<u32>,
    opened: Vec<u64>,
    /// Backends of rows that have changed, whose counters are told whether they have changed or
    /// not.
    untold: BTreeSet<u32>,
    /// When they were read last, and whether they ever were.
    renewed: Option<Duration>,
    /// When they may be read again, and after which pause where that fails once more.
    renew_at: Duration,
    pause: Option<Duration>,
    looks: u32,
    /// What the counters don't say yet, and what of it was told last.
    corrections: Arc<Corrections>,
    corrected: BTreeMap<u32, i64>,
    /// How many connections this node had opened when it was looked for those that came and went.
    balanced: Option<u64>,
}

/// A counter that has changed.
pub struct Counted {
    /// Identifier of the backend.
    pub backend: u32,
    /// Open connections.
    pub active: u32,
    /// How many were ever opened.
    pub opened: u64,
}

/// What was seen of the counters.
pub struct Looked {
    /// Those that have changed.
    pub counted: Vec<Counted>,
    /// Answers of stewards that they include since the last look, by Service port: number, and how many
    /// permits were not used.
    pub settled: BTreeMap<ServiceId, (u32, u32)>,
}

impl<M: ReadMaps + ClusterCounts + KeepSeats> Counters<M> {
    /// Nothing is known yet.
    pub fn new(maps: M, corrections: Arc<Corrections>) -> Self {
        let words = vec![(0, false); maps.limits().services as usize];
        // The padding's counter never changes.
        let (active, opened) = (vec![maps.active(PAD_BACKEND)], vec![0]);
        Self {
            maps,
            rows: BTreeMap::new(),
            words,
            of: BTreeMap::new(),
            changed: BTreeSet::new(),
            active,
            opened,
            untold: BTreeSet::new(),
            renewed: None,
            renew_at: Duration::ZERO,
            pause: None,
            looks: 0,
            corrections,
            corrected: BTreeMap::new(),
            balanced: None,
        }
    }

    /// True if the rows were not read just now.
    pub fn may_renew(&self, now: Duration) -> bool {
        self.renew_at <= now
    }

    /// True if the rows could not be read when this was tried last.
    pub const fn has_failed(&self) -> bool {
        self.pause.is_some()
    }

    /// True once all rows were read. Their counters are given by the look that follows.
    pub const fn are_known(&self) -> bool {
        self.renewed.is_some()
    }

    /// Reads the rows that have changed, and gives all rows of their Service ports.
    ///
    /// # Errors
    ///
    /// Where the maps can't be read; what was found is given the next time.
    pub fn renew(&mut self, now: Duration) -> Result<ServiceRows, MapsError> {
        let result = self.read_rows(now);
        let failed = || self.pause.map_or(RENEW, |pause| (2 * pause).min(MOST_RENEW));
        self.pause = result.is_err().then(failed);
        self.renew_at = now + self.pause.unwrap_or(RENEW);
        result
    }

    fn read_rows(&mut self, now: Duration) -> Result<ServiceRows, MapsError> {
        if self.renewed.is_none() {
            // An agent with larger capacities may have left rows beyond those of this one.
            let named = self.maps.names()?.iter().map(|(id, _)| *id as usize + 1).max();
            let most = self.words.len().max(named.unwrap_or(0));
            self.words.resize(most, (0, false));
        }
        for id in 0..self.words.len() as u32 {
            let found = match self.maps.row_word(id) {
                0 => (0, false),
                word => (word, self.maps.settings(id).weighs()),
            };
            // A row is emptied before its name goes, and it gets a name before it is written.
            let is_empty = || self.rows.get(&id).is_some_and(|row| row.backends.is_empty());
            if self.words[id as usize] != found || is_empty() {
                self.read(id)?;
                self.words[id as usize] = found;
            }
        }
        self.renewed = Some(now);
        let changed = std::mem::take(&mut self.changed);
        let rows = changed.into_iter().map(|service| {
            let ids = self.of.get(&service).into_iter().flatten();
            (service, ids.filter_map(|id| self.rows.get(id)).cloned().collect())
        });
        Ok(rows.collect())
    }

    /// Reads a row.
    fn read(&mut self, id: u32) -> Result<(), MapsError> {
        let name = self.maps.name(id)?.and_then(|name| convert::row_id(&name));
        let found = name.map(|RowId { port, family, .. }| {
            let row = self.maps.row(id);
            let backends = self.maps.slots(row).filter_map(|slot| {
                let addr = convert::backend_addr(&self.maps.backend(slot.backend))?;
                Some(RowBackend { id: slot.backend, addr, weight: slot.weight })
            });
            Row {
                id,
                service: ServiceId::of(&port, family),
                weighted: self.maps.settings(id).weighs(),
                backends: backends.collect(),
            }
        });
        let is_empty = found.as_ref().is_none_or(|row| row.backends.is_empty());
        if is_empty && self.rows.get(&id) == found.as_ref() {
            return Ok(());
        }
        if let Some(before) = self.rows.remove(&id) {
            let service = before.service;
            self.changed.insert(service);
            if let Some(ids) = self.of.get_mut(&service) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.of.remove(&service);
                }
            }
        }
        if let Some(found) = found {
            let service = found.service;
            self.changed.insert(service);
            self.of.entry(service).or_default().insert(id);
            let backends = found.backends.iter().map(|backend| backend.id);
            self.untold.extend(backends.clone());
            let most = backends.max().map_or(0, |most| most as usize + 1);
            if self.active.len() < most {
                self.active.resize(most, 0);
                self.opened.resize(most, 0);
            }
            self.rows.insert(id, found);
        }
        Ok(())
    }

    /// Writes what follows from what the others have said. Programs believe it for 3 s from when it
    /// was said, not from now: a steward that falls silent is not believed longer because this node
    /// has opened connections since.
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

    /// The counters that have changed, and those of rows that were read anew. What the mover has ended and is
    /// not closed yet is not counted, and a seat that it keeps is.
    pub fn look(&mut self) -> Looked {
        let mut told = std::mem::take(&mut self.untold);
        let Corrected { by, busy, settled } = self.corrections.look(&self.maps);
        told.extend(self.maps.changed_active(&mut self.active));
        for backend in by.keys().chain(self.corrected.keys()) {
            if by.get(backend) != self.corrected.get(backend) {
                told.insert(*backend);
            }
        }
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(TOTALS) {
            // None were opened where no program has balanced any.
            let balanced = self.maps.verdict(Verdict::Balanced).ok();
            if balanced.is_none() || balanced != self.balanced {
                self.balanced = balanced;
                let opened = (0..).zip(&self.opened);
                told.extend(
                    opened
                        .filter(|(id, seen)| self.maps.backend(*id).opened != **seen)
                        .map(|(id, _)| id),
                );
            }
        }
        // In the midst of moves nothing is said of these: half of it would be wrong.
        let (untold, mut told): (BTreeSet<_>, BTreeSet<_>) =
            told.into_iter().partition(|backend| busy.contains(backend));
        self.untold = untold;
        // What is no longer in any row is nobody's business.
        told.retain(|backend| (*backend as usize) < self.active.len());
        let counted = told.into_iter().map(|backend| {
            let (active, opened) = (self.maps.active(backend), self.maps.backend(backend).opened);
            (self.active[backend as usize], self.opened[backend as usize]) = (active, opened);
            let by = by.get(&backend).copied().unwrap_or_default();
            let active = u32::try_from((i64::from(active) + by).max(0)).unwrap_or(u32::MAX);
            Counted { backend, active, opened }
        });
        let counted = counted.collect();
        self.corrected = by;
        Looked { counted, settled }
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
        peers::{name::NodeId, node::Node, wire::Section},
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
            Section::Hello(_) | Section::Ask(_) | Section::Answer(_) => Vec::new(),
            Section::Report(report) => report.counts,
            Section::Totals(totals) => totals.counts,
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// Tells a node of rows and counters.
    fn tell(counters: &mut Counters<InMemoryMaps>, node: &mut Node, now: Duration) {
        node.change_rows(now, counters.renew(now).unwrap());
        for Counted { backend, active, opened } in counters.look().counted {
            node.observe(now, backend, active, opened);
        }
    }

    #[test]
    fn rows_and_counters_are_those_of_the_maps() {
        let mut counters = Counters::new(maps(), Arc::default());
        let at = Duration::from_secs;
        assert!(counters.may_renew(at(0)));
        let rows = counters.renew(at(0)).unwrap();
        let backend =
            |id: u8| RowBackend { id: id.into(), addr: addr(id), weight: 10 * u16::from(id) };
        let service = ServiceId::of(&port(), Family::V4);
        let backends = vec![backend(1), backend(2)];
        let row = Row { id: 1, service, weighted: true, backends };
        assert_eq!(rows, [(service, vec![row])].into());
        assert!(!counters.may_renew(Duration::from_millis(199)));

        let mut node = Node::new(NodeId(1));
        node.set_peers(at(0), [NodeId(2)]);
        node.change_rows(at(0), rows);
        tell(&mut counters, &mut node, at(0));
        counters.maps.set_active(2, 3);
        // One that is in no row is nobody's business.
        counters.maps.set_active(3, 9);
        tell(&mut counters, &mut node, at(1));
        said(&mut node, at(1));
        assert_eq!(said(&mut node, at(3)), [(addr(2), 3)]);
        // It leaves its row with connections, which end.
        set_row(&mut counters.maps, 1);
        counters.maps.set_active(2, 1);
        tell(&mut counters, &mut node, at(5));
        assert_eq!(said(&mut node, at(5)), [(addr(2), 1)]);
        // It comes back when all have forgotten it, with a connection of then.
        node.due(at(60));
        set_row(&mut counters.maps, 2);
        tell(&mut counters, &mut node, at(61));
        assert_eq!(said(&mut node, at(61)), [(addr(2), 1)]);
    }

    #[test]
    fn maps_that_can_not_be_read_are_tried_less_and_less_often() {
        let mut counters = Counters::new(maps(), Arc::default());
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            counters.maps.reads_fail_in(0);
            assert!(counters.renew(now).is_err() && counters.has_failed() && !counters.are_known());
            let look = Duration::from_millis(25);
            let looks = (1..).find(|looks| counters.may_renew(now + look * *looks)).unwrap();
            now += look * looks;
            pauses.push((look * looks).as_millis());
        }
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(counters.renew(now).unwrap().len(), 1);
        assert!(!counters.has_failed() && counters.are_known());
        assert!(counters.may_renew(now + RENEW) && !counters.may_renew(now));
    }

    #[test]
    fn only_what_has_changed_is_read_again() {
        let mut counters = Counters::new(maps(), Arc::default());
        let at = Duration::from_secs;
        let service = ServiceId::of(&port(), Family::V4);
        assert_eq!(counters.renew(at(0)).unwrap().len(), 1);
        assert_eq!(counters.look().counted.len(), 2);
        assert_eq!(counters.renew(at(1)).unwrap(), ServiceRows::new());
        assert_eq!(counters.look().counted.len(), 0);
        // Counters are told again with a row, as who is told may have forgotten its backends.
        set_row(&mut counters.maps, 2);
        assert_eq!(counters.renew(at(2)).unwrap().len(), 1);
        assert_eq!(counters.look().counted.iter().map(|c| c.backend).collect::<Vec<_>>(), [1, 2]);
        // So is a change of settings alone.
        counters.maps.set_settings(1, Settings::default());
        assert!(!counters.renew(at(3)).unwrap()[&service][0].weighted);
        // An empty row is known until its name goes.
        set_row(&mut counters.maps, 0);
        let rows = counters.renew(at(4)).unwrap();
        assert_eq!(rows[&service].iter().map(|row| row.backends.len()).collect::<Vec<_>>(), [0]);
        assert_eq!(counters.renew(at(5)).unwrap(), ServiceRows::new());
        counters.maps.remove_name(1).unwrap();
        assert_eq!(counters.renew(at(6)).unwrap(), [(service, Vec::new())].into());
        assert_eq!(counters.renew(at(7)).unwrap(), ServiceRows::new());
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
            let mut counters = Counters::new(maps, Arc::default());
            let rows = counters.renew(Duration::ZERO).unwrap();
            assert!(rows.values().flatten().all(|row| row.weighted == weighted), "{settings:?}");
            assert_eq!(rows.len(), 1);
            maps = counters.maps;
        }
    }

    #[test]
    fn words_are_as_old_as_what_was_said() {
        let mut counters = Counters::new(maps(), Arc::default());
        counters.maps.now_ms = 10_000;
        let level = crate::peers::level::Filling { floor: 255, span: 256 };
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
