//! What Service ports were sent since the agent started. The counters of backends end with them, and a
//! sum of them would go back: Prometheus would take that for a restart.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use crate::{model::Protocol, view::ServiceView};

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
    /// Each backend at the last scrape; none before the first.
    seen: Option<HashMap<(SocketAddr, Protocol), Total>>,
    ports: BTreeMap<Port, Total>,
}

impl Totals {
    /// The totals of Service ports, in their order, at this moment.
    pub fn at(&self, services: &[ServiceView]) -> Vec<Total> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.seen.take();
        let mut seen = HashMap::new();
        let mut ports = mem::take(&mut known.ports);
        let mut totals = Vec::with_capacity(services.len());
        for service in services {
            let protocol = service.port.protocol;
            let port =
                (service.namespace.clone(), service.name.clone(), service.port.number, protocol);
            let mut total = ports.remove(&port).unwrap_or_default();
            for backend in &service.backends {
                let key = (SocketAddr::new(backend.address, backend.port), protocol);
                let now = Total { opened: backend.opened_total, failed: backend.failed_total };
                seen.insert(key, now);
                // What was there before the first scrape is not of this agent.
                let Some(before) = &before else { continue };
                let added = now.since(before.get(&key).copied().unwrap_or_default());
                total.opened += added.opened;
                total.failed += added.failed;
            }
            totals.push(total);
            known.ports.insert(port, total);
        }
        known.seen = Some(seen);
        totals
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
            let total = totals.at(&view(opened));
            assert_eq!(total.iter().map(|total| total.opened).collect::<Vec<_>>(), [want]);
        }
    }
}
