//! What this node has itself, by Service port, and what of it the stewards do not know yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{Moment, name::ServiceId, pace};
use crate::desired::BackendAddr;

/// How long it is known that a Service port was used that is gone: longer than its steward counts
/// what it heard before.
const KEPT: Duration = pace::SILENT.saturating_mul(2);

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

/// The rows of some Service ports, all of each.
pub type ServiceRows = BTreeMap<ServiceId, Vec<Row>>;

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
    /// The same, by their addresses.
    identifiers: HashMap<BackendAddr, u32>,
    services: BTreeMap<ServiceId, Service>,
    /// Service ports of which something was not reported yet.
    dirty: BTreeSet<ServiceId>,
    /// Service ports of which a counter has changed since this was asked last.
    changed: BTreeSet<ServiceId>,
    /// Service ports that this node uses, or has used a while ago.
    in_use: BTreeSet<ServiceId>,
    /// Service ports that backends have left not long ago.
    leaving: BTreeSet<ServiceId>,
    /// Service ports that are gone and were used, and since when. Their stewards count what was
    /// reported until this node is silent for too long, or reports them again.
    gone: BTreeMap<ServiceId, Moment>,
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
    /// Takes the rows of some Service ports as they are now; one without rows is gone. What has
    /// left its Service port is still known for a while.
    pub fn change_rows(&mut self, now: Moment, rows: &ServiceRows) {
        for (id, rows) in rows {
            if rows.is_empty() {
                self.remove(now, *id);
                continue;
            }
            let mut service = self.services.remove(id).unwrap_or_default();
            if self.gone.remove(id).is_some() {
                service.used = Some(now);
                self.dirty.insert(*id);
                self.in_use.insert(*id);
            }
            for left in service.backends.values_mut() {
                left.get_or_insert(now);
            }
            for backend in rows.iter().flat_map(|row| &row.backends) {
                let before = service.backends.insert(backend.id, None);
                let mine = self.backends.entry(backend.id);
                let mine = mine.or_insert_with(|| Mine::new(backend.addr));
                if mine.addr != backend.addr {
                    // Another one has its identifier. What the first one has left does not know it.
                    let mut services = std::mem::take(&mut mine.services);
                    services.retain(|service| {
                        let Some(other) = self.services.get_mut(service) else { return true };
                        let left = matches!(other.backends.get(&backend.id), Some(Some(_)));
                        if left {
                            other.backends.remove(&backend.id);
                        }
                        !left
                    });
                    forget_addr(&mut self.identifiers, mine.addr, backend.id);
                    *mine = Mine { services, ..Mine::new(backend.addr) };
                }
                self.identifiers.insert(backend.addr, backend.id);
                if before.is_none() {
                    mine.services.push(*id);
                    if mine.active > 0 {
                        // It has connections already, of which its steward has not heard.
                        self.version += 1;
                        mine.version = self.version;
                        service.used = Some(now);
                        for news in [&mut self.dirty, &mut self.changed, &mut self.in_use] {
                            news.insert(*id);
                        }
                    }
                }
            }
            if service.backends.values().any(Option::is_some) {
                self.leaving.insert(*id);
            }
            self.services.insert(*id, service);
        }
        self.forget_left(now);
    }

    /// A Service port is gone.
    fn remove(&mut self, now: Moment, id: ServiceId) {
        let Some(service) = self.services.remove(&id) else { return };
        for backend in service.backends.keys() {
            self.part(*backend, id);
        }
        if self.in_use.remove(&id) {
            self.gone.insert(id, now);
        }
        for set in [&mut self.dirty, &mut self.changed, &mut self.leaving] {
            set.remove(&id);
        }
    }

    /// A backend is none of a Service port any more.
    fn part(&mut self, backend: u32, id: ServiceId) {
        let Some(mine) = self.backends.get_mut(&backend) else { return };
        mine.services.retain(|service| *service != id);
        if mine.services.is_empty() {
            forget_addr(&mut self.identifiers, mine.addr, backend);
            self.backends.remove(&backend);
        }
    }

    /// Forgets what left long ago.
    fn forget_left(&mut self, now: Moment) {
        let mut gone = Vec::new();
        self.leaving.retain(|id| {
            let Some(service) = self.services.get_mut(id) else { return false };
            service.backends.retain(|backend, left| {
                let stays = left.is_none_or(|at| at + pace::LEFT > now);
                if !stays {
                    gone.push((*backend, *id));
                }
                stays
            });
            service.backends.values().any(Option::is_some)
        });
        for (backend, id) in gone {
            self.part(backend, id);
        }
    }

    /// Takes a counter of the maps: open connections, and those ever opened.
    pub fn observe(&mut self, now: Moment, backend: u32, active: u32, opened: u64) {
        let Some(mine) = self.backends.get_mut(&backend) else { return };
        let new = opened.wrapping_sub(mine.opened.unwrap_or(opened)) as u32;
        mine.opened = Some(opened);
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

    /// There is something to report of a Service port, whether a counter has changed or not.
    pub fn mark(&mut self, service: ServiceId) {
        self.dirty.insert(service);
    }

    /// The address of a backend.
    pub fn addr_of(&self, backend: u32) -> Option<BackendAddr> {
        self.backends.get(&backend).map(|mine| mine.addr)
    }

    /// Every Service port that there is a row of.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> {
        self.services.keys().copied()
    }

    /// True if there is a row of a Service port.
    pub fn has(&self, service: ServiceId) -> bool {
        self.services.contains_key(&service)
    }

    /// True if this node uses a Service port, or has used it a while ago.
    pub fn is_used(&self, service: ServiceId) -> bool {
        self.in_use.contains(&service)
    }

    /// Service ports that this node uses, or has used a while ago.
    pub fn used(&self) -> Vec<ServiceId> {
        self.in_use.iter().copied().collect()
    }

    /// Forgets which Service ports were used and what has left them, where that is long ago.
    pub fn forget(&mut self, now: Moment) {
        self.forget_left(now);
        self.gone.retain(|_, since| *since + KEPT > now);
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
    /// connections opened so far. `named` is how long a backend is named whose last connection has
    /// ended.
    pub fn report(
        &mut self,
        now: Moment,
        id: ServiceId,
        all: bool,
        named: Duration,
    ) -> Option<(u32, Vec<(BackendAddr, u32)>)> {
        let service = self.services.get_mut(&id)?;
        let recent = |mine: &Mine| mine.version > 0 && mine.changed + named > now;
        let told = |mine: &Mine| {
            mine.version > service.reported || (all && (mine.active > 0 || recent(mine)))
        };
        let mine = service.backends.keys().filter_map(|id| self.backends.get(id));
        let counts = mine.filter(|mine| told(mine)).map(|mine| (mine.addr, mine.active)).collect();
        service.reported = self.version;
        self.dirty.remove(&id);
        Some((service.opened, counts))
    }

    /// A Service port was reported, and not to repeat it.
    pub fn reported(&mut self, now: Moment, id: ServiceId) {
        if let Some(service) = self.services.get_mut(&id) {
            service.reported_at = Some(now);
        }
    }

    /// Service ports that a backend belongs to, or has belonged to not long ago.
    pub fn services_of(&self, backend: u32) -> &[ServiceId] {
        self.backends.get(&backend).map_or(&[], |mine| &mine.services)
    }

    /// The same, by its address.
    pub fn services_at(&self, backend: &BackendAddr) -> &[ServiceId] {
        self.identifiers.get(backend).map_or(&[], |id| self.services_of(*id))
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

/// An address has no longer that identifier; it may have got another one.
fn forget_addr(identifiers: &mut HashMap<BackendAddr, u32>, addr: BackendAddr, backend: u32) {
    if identifiers.get(&addr) == Some(&backend) {
        identifiers.remove(&addr);
    }
}

impl Mine {
    const fn new(addr: BackendAddr) -> Self {
        let services = Vec::new();
        Self { addr, active: 0, opened: None, version: 0, changed: Moment::ZERO, services }
    }
}

#[cfg(test)]
mod tests;
