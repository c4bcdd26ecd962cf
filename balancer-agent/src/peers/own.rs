//! What this node has itself, by Service port, and what of it the stewards do not know yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Moment, name::ServiceId, pace};
use crate::desired::BackendAddr;

/// A row of the maps: backends that the connections of this node to a Service port go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its identifier in the maps.
    pub id: u32,
    /// Its Service port. There may be several rows of one.
    pub service: ServiceId,
    /// True if weights count.
    pub weighted: bool,
    /// Its backends.
    pub backends: Vec<RowBackend>,
}

/// A backend of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowBackend {
    /// Its identifier in the maps.
    pub id: u32,
    /// The backend.
    pub addr: BackendAddr,
    /// Its share beside that of others.
    pub weight: u16,
}

/// What this node has itself.
#[derive(Debug, Default)]
pub struct Own {
    backends: HashMap<u32, Mine>,
    services: BTreeMap<ServiceId, Service>,
    /// Service ports of which something was not reported yet.
    dirty: BTreeSet<ServiceId>,
    /// Service ports of which a counter has changed since this was asked last.
    changed: BTreeSet<ServiceId>,
    /// Service ports that this node uses, or has used a while ago.
    in_use: BTreeSet<ServiceId>,
    version: u64,
}

#[derive(Debug)]
struct Mine {
    addr: BackendAddr,
    active: u32,
    /// None before it was looked at.
    opened: Option<u64>,
    /// When it changed last.
    version: u64,
    changed: Moment,
    services: Vec<ServiceId>,
}

#[derive(Debug, Default)]
struct Service {
    /// Its backends by identifier; with a moment those that have left it then.
    backends: BTreeMap<u32, Option<Moment>>,
    opened: u32,
    /// When it was last seen to be used.
    used: Option<Moment>,
    /// What was reported last, and when.
    reported: u64,
    reported_at: Option<Moment>,
}

impl Own {
    /// Takes the rows as they are now. What has left its Service port is still known for a while.
    pub fn set_rows(&mut self, now: Moment, rows: &[Row]) {
        let mut before = std::mem::take(&mut self.services);
        for row in rows {
            let old = before.get(&row.service).map(|old| (old.opened, old.used));
            let (opened, used) = old.unwrap_or_default();
            let service = self.services.entry(row.service).or_default();
            (service.opened, service.used) = (opened, used);
            for backend in &row.backends {
                service.backends.insert(backend.id, None);
                let known = self.backends.get(&backend.id).map(|mine| mine.addr);
                if known != Some(backend.addr) {
                    self.backends.insert(backend.id, Mine::new(backend.addr));
                }
            }
        }
        for (id, service) in &mut self.services {
            let Some(old) = before.remove(id) else { continue };
            (service.reported, service.reported_at) = (old.reported, old.reported_at);
            for (backend, left) in old.backends {
                let at = left.unwrap_or(now);
                if at + pace::LEFT > now {
                    service.backends.entry(backend).or_insert(Some(at));
                }
            }
        }
        self.backends.values_mut().for_each(|mine| mine.services.clear());
        for (id, service) in &self.services {
            for backend in service.backends.keys() {
                if let Some(mine) = self.backends.get_mut(backend) {
                    mine.services.push(*id);
                }
            }
        }
        self.backends.retain(|_, mine| !mine.services.is_empty());
        self.dirty.retain(|id| self.services.contains_key(id));
        self.in_use.retain(|id| self.services.contains_key(id));
    }

    /// Takes a counter of the maps: open connections, and those ever opened.
    pub fn observe(&mut self, now: Moment, backend: u32, active: u32, opened: u64) {
        let Some(mine) = self.backends.get_mut(&backend) else { return };
        let new = opened.wrapping_sub(mine.opened.unwrap_or(opened)) as u32;
        let first = mine.opened.replace(opened).is_none();
        if mine.active == active && new == 0 && !first {
            return;
        }
        if mine.active != active || new > 0 {
            self.version += 1;
            (mine.active, mine.version, mine.changed) = (active, self.version, now);
            for id in &mine.services {
                if let Some(service) = self.services.get_mut(id) {
                    service.opened = service.opened.wrapping_add(new);
                    service.used = Some(now);
                    self.dirty.insert(*id);
                    self.changed.insert(*id);
                    self.in_use.insert(*id);
                }
            }
        }
    }

    /// Service ports of which something was not reported yet.
    pub fn dirty(&self) -> impl Iterator<Item = ServiceId> {
        self.dirty.iter().copied()
    }

    /// Service ports of which a counter has changed since this was asked last.
    pub fn changed(&mut self) -> BTreeSet<ServiceId> {
        std::mem::take(&mut self.changed)
    }

    /// Every Service port that there is a row of.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> {
        self.services.keys().copied()
    }

    /// True if there is a row of a Service port.
    pub fn has(&self, service: ServiceId) -> bool {
        self.services.contains_key(&service)
    }

    /// Service ports that this node uses, or has used a while ago.
    pub fn used(&self) -> Vec<ServiceId> {
        self.in_use.iter().copied().collect()
    }

    /// Forgets which Service ports were used, where that is long ago.
    pub fn forget(&mut self, now: Moment) {
        let (services, backends) = (&self.services, &self.backends);
        self.in_use.retain(|id| {
            let Some(service) = services.get(id) else { return false };
            let active = |id: &u32| backends.get(id).is_some_and(|mine| mine.active > 0);
            let recent = service.used.is_some_and(|at| at + pace::USED > now);
            recent || service.backends.keys().any(active)
        });
    }

    /// When a Service port was reported last, but for repetitions.
    pub fn reported_at(&self, service: ServiceId) -> Option<Moment> {
        self.services.get(&service)?.reported_at
    }

    /// Nothing of a Service port was reported to whoever its steward is now.
    pub fn renew(&mut self, service: ServiceId) {
        if let Some(found) = self.services.get_mut(&service)
            && found.used.is_some()
        {
            (found.reported, found.reported_at) = (0, None);
            self.dirty.insert(service);
        }
    }

    /// What to report of a Service port: what has changed since the last time, or all; and the
    /// connections opened so far.
    pub fn report(
        &mut self,
        now: Moment,
        id: ServiceId,
        all: bool,
    ) -> Option<(u32, Vec<(BackendAddr, u32)>)> {
        let service = self.services.get_mut(&id)?;
        let recent = |mine: &Mine| mine.version > 0 && mine.changed + pace::HEARD > now;
        let told = |mine: &Mine| {
            mine.version > service.reported || (all && (mine.active > 0 || recent(mine)))
        };
        let mine = service.backends.keys().filter_map(|id| self.backends.get(id));
        let counts = mine.filter(|mine| told(mine)).map(|mine| (mine.addr, mine.active)).collect();
        service.reported = self.version;
        if !all {
            service.reported_at = Some(now);
        }
        self.dirty.remove(&id);
        Some((service.opened, counts))
    }

    /// Open connections to a backend.
    pub fn active(&self, backend: u32) -> u32 {
        self.backends.get(&backend).map_or(0, |mine| mine.active)
    }

    /// Backends that left a Service port not long ago, and their open connections.
    pub fn left(&self, now: Moment, id: ServiceId) -> Vec<(BackendAddr, u32)> {
        let Some(service) = self.services.get(&id) else { return Vec::new() };
        let left = |at: &Option<Moment>| at.is_some_and(|at| at + pace::LEFT > now);
        let found = service.backends.iter().filter(|(_, at)| left(at));
        let mine = found.filter_map(|(id, _)| self.backends.get(id));
        mine.map(|mine| (mine.addr, mine.active)).collect()
    }
}

impl Mine {
    const fn new(addr: BackendAddr) -> Self {
        let services = Vec::new();
        Self { addr, active: 0, opened: None, version: 0, changed: Moment::ZERO, services }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Protocol;

    const WEB: ServiceId = ServiceId(1);
    const API: ServiceId = ServiceId(2);

    fn addr(id: u32) -> BackendAddr {
        BackendAddr::new(([10, 0, 0, id as u8], 80).into(), Protocol::Tcp)
    }

    fn row(service: ServiceId, ids: &[u32]) -> Row {
        let backend = |id: &u32| RowBackend { id: *id, addr: addr(*id), weight: 1 };
        let backends = ids.iter().map(backend).collect();
        Row { id: service.0 as u32, service, weighted: false, backends }
    }

    fn at(ms: u64) -> Moment {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_changed_is_reported_once_and_everything_when_asked() {
        let mut own = Own::default();
        own.set_rows(at(0), &[row(WEB, &[1, 2, 3])]);
        // What was opened before the first look is no news, what is open is.
        own.observe(at(0), 1, 4, 100);
        own.observe(at(0), 2, 0, 0);
        assert_eq!(own.report(at(1), WEB, false), Some((0, vec![(addr(1), 4)])));
        assert_eq!(own.dirty().count(), 0);
        own.observe(at(10), 2, 1, 1);
        own.observe(at(10), 1, 4, 100);
        assert_eq!(own.dirty().collect::<Vec<_>>(), [WEB]);
        assert_eq!(own.report(at(10), WEB, false), Some((1, vec![(addr(2), 1)])));
        assert_eq!(own.report(at(10), WEB, true), Some((1, vec![(addr(1), 4), (addr(2), 1)])));
        // A connection that came and went between two looks was opened.
        own.observe(at(20), 2, 1, 3);
        assert_eq!(own.report(at(20), WEB, false), Some((3, vec![(addr(2), 1)])));
        // One that ended is named as long as the news may have been lost.
        own.observe(at(30), 1, 0, 100);
        let counts = |own: &mut Own, ms| own.report(at(ms), WEB, true).unwrap().1;
        assert_eq!(counts(&mut own, 1_000), [(addr(1), 0), (addr(2), 1)]);
        assert_eq!(counts(&mut own, 4_000), [(addr(2), 1)]);
    }

    #[test]
    fn services_that_share_a_backend_both_report_it() {
        let mut own = Own::default();
        own.set_rows(at(0), &[row(WEB, &[1, 2]), row(API, &[2, 3])]);
        own.observe(at(0), 2, 0, 0);
        own.observe(at(1), 2, 1, 1);
        assert_eq!(own.dirty().collect::<Vec<_>>(), [WEB, API]);
        for id in [WEB, API] {
            assert_eq!(own.report(at(1), id, false), Some((1, vec![(addr(2), 1)])));
        }
        assert_eq!(own.used(), [WEB, API]);
        own.forget(at(700_000));
        assert_eq!(own.used(), [WEB, API], "it has a connection");
        own.observe(at(700_000), 2, 0, 1);
        own.forget(at(1_400_000));
        assert_eq!(own.used(), []);
    }

    #[test]
    fn what_left_a_row_counts_for_a_while() {
        let mut own = Own::default();
        own.set_rows(at(0), &[row(WEB, &[1, 2])]);
        own.observe(at(0), 1, 5, 5);
        own.set_rows(at(1_000), &[row(WEB, &[2])]);
        own.observe(at(1_500), 1, 3, 5);
        assert_eq!(own.left(at(2_000), WEB), [(addr(1), 3)]);
        assert_eq!(own.report(at(2_000), WEB, true).unwrap().1, [(addr(1), 3)]);
        assert_eq!(own.left(at(31_000), WEB), []);
        // It is back before.
        own.set_rows(at(3_000), &[row(WEB, &[1, 2])]);
        assert_eq!(own.left(at(3_000), WEB), []);
        // Its identifier has gone to another backend.
        let mut other = row(WEB, &[2]);
        other.backends.push(RowBackend { id: 1, addr: addr(9), weight: 1 });
        own.set_rows(at(4_000), &[other]);
        assert_eq!(own.active(1), 0);
    }

    #[test]
    fn a_new_steward_hears_everything() {
        let mut own = Own::default();
        own.set_rows(at(0), &[row(WEB, &[1, 2])]);
        own.observe(at(0), 1, 5, 5);
        assert!(own.report(at(0), WEB, false).is_some());
        own.renew(WEB);
        assert_eq!((own.dirty().count(), own.reported_at(WEB)), (1, None));
        assert_eq!(own.report(at(1), WEB, false), Some((0, vec![(addr(1), 5)])));
    }
}
