//! What Service ports were sent since the agent started. The counters of backends end with them, and a
//! sum of them would go back: Prometheus would take that for a restart.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use crate::{desired::BackendAddr, model::Protocol, observe::Snapshot, view::ServiceView};

/// What was counted of a Service port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Connections opened.
    pub opened: u64,
    /// Connections refused or timed out.
    pub failed: u64,
}

impl Total {
    /// What was added since `before`; all of it where the counter began anew.
    const fn since(self, before: Self) -> Self {
        if self.opened < before.opened || self.failed < before.failed {
            return self;
        }
        Self { opened: self.opened - before.opened, failed: self.failed - before.failed }
    }
}

type Port = (String, String, u16, Protocol);

/// Totals of all Service ports. What happens between the last scrape before a backend goes and its end is
/// not in them.
#[derive(Debug, Default)]
pub struct Totals(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Scrapes so far.
    scrapes: u64,
    /// Each backend in use at the last scrape, with its number.
    seen: HashMap<BackendAddr, (Total, u64)>,
    ports: BTreeMap<Port, Total>,
}

impl Totals {
    /// What `read` reads, with the totals of its Service ports in their order. One after another: what
    /// was read earlier and told later would look like counters that began anew.
    ///
    /// # Errors
    ///
    /// Those of `read`; the totals are then as they were.
    pub fn at<E>(
        &self,
        read: impl FnOnce() -> Result<(Snapshot, Vec<ServiceView>), E>,
    ) -> Result<(Snapshot, Vec<ServiceView>, Vec<Total>), E> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (snapshot, services) = read()?;
        let added = known.count(&snapshot);
        let mut ports = mem::take(&mut known.ports);
        let mut totals = Vec::with_capacity(services.len());
        for service in &services {
            let protocol = service.port.protocol;
            let port =
                (service.namespace.clone(), service.name.clone(), service.port.number, protocol);
            let mut total = ports.remove(&port).unwrap_or_default();
            // At most scrapes little is new, and nobody looks for each of 100,000 backends.
            let backends = if added.is_empty() { &[][..] } else { &service.backends };
            for backend in backends {
                let key =
                    BackendAddr::new(SocketAddr::new(backend.address, backend.port), protocol);
                let Some(added) = added.get(&key) else { continue };
                total.opened += added.opened;
                total.failed += added.failed;
            }
            totals.push(total);
            known.ports.insert(port, total);
        }
        Ok((snapshot, services, totals))
    }
}

impl Known {
    /// What was added to each backend since the last scrape, where that is anything. What was there
    /// before the first is not of this agent.
    fn count(&mut self, snapshot: &Snapshot) -> HashMap<BackendAddr, Total> {
        let mut added = HashMap::new();
        let (is_first, scrape) = (self.scrapes == 0, self.scrapes + 1);
        for (backend, opened, failed) in &snapshot.counted {
            let now = Total { opened: *opened, failed: *failed };
            let (before, last) = self.seen.entry(*backend).or_default();
            let new = now.since(*before);
            if !is_first && new != Total::default() {
                added.insert(*backend, new);
            }
            (*before, *last) = (now, scrape);
        }
        self.seen.retain(|_, (_, last)| *last == scrape);
        self.scrapes = scrape;
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// A Service port whose backends, by their last byte, were opened so often.
    fn view(opened: &[(u8, u64)]) -> Vec<ServiceView> {
        let mut view = testing::services().swap_remove(0);
        let model = view.backends[0].clone();
        let backend = |(last, opened): &(u8, u64)| crate::view::BackendView {
            address: [10, 0, 0, *last].into(),
            opened_total: *opened,
            ..model.clone()
        };
        view.backends = opened.iter().map(backend).collect();
        vec![view]
    }

    /// What is told of the Service port, whose backends are those, while so many are in use.
    fn told(totals: &Totals, shown: &[(u8, u64)], used: &[(u8, u64)]) -> u64 {
        let model = view(&[(1, 0)]).swap_remove(0);
        let port = model.backends[0].port;
        let counted = |(last, opened): &(u8, u64)| {
            let addr = SocketAddr::new([10, 0, 0, *last].into(), port);
            (BackendAddr::new(addr, model.port.protocol), *opened, 0)
        };
        let counted = used.iter().map(counted).collect();
        let snapshot = Snapshot { counted, ..Snapshot::default() };
        let read = || Ok::<_, std::convert::Infallible>((snapshot, view(shown)));
        let Ok((_, _, total)) = totals.at(read);
        total[0].opened
    }

    #[test]
    fn totals_never_go_back() {
        let totals = Totals::default();
        for (opened, want) in [
            (&[(1, 900), (2, 50)][..], 0),
            (&[(1, 905), (2, 50)], 5),
            // One goes, with its counter, and one comes.
            (&[(1, 906), (3, 2)], 8),
            (&[(3, 4)], 10),
            (&[], 10),
            // It comes back, counting from 0.
            (&[(1, 3)], 13),
            (&[(1, 1)], 14),
        ] {
            assert_eq!(told(&totals, opened, opened), want);
        }
    }

    #[test]
    fn what_was_opened_while_no_service_port_had_a_backend_is_nobodys() {
        let totals = Totals::default();
        assert_eq!(told(&totals, &[(1, 900)], &[(1, 900)]), 0);
        assert_eq!(told(&totals, &[], &[(1, 900)]), 0);
        assert_eq!(told(&totals, &[(1, 901)], &[(1, 901)]), 1);
    }
}
