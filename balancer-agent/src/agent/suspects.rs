//! Which backends begin to fail, and answer again: programs say so in the maps alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch::Receiver, time::MissedTickBehavior};

use super::{drains, journal::Event, shared::Shared};
use crate::{desired::Desired, model::ObjectRef, moves::ask::address, view::EventKind};

/// Time between two looks. A backend is suspect for a quarter of a second at least, and for longer
/// with each failure in a row.
const INTERVAL: Duration = Duration::from_millis(200);

/// Looks until `stopped` turns true.
pub async fn watch(shared: Arc<Shared>, mut stopped: Receiver<bool>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = BTreeSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let found = shared.maps().suspects();
        tell(&shared, differing(&known, &found));
        known = found;
    }
}

/// What is suspect now and was not, and the other way round.
fn differing<'a>(
    known: &'a BTreeSet<u32>,
    found: &'a BTreeSet<u32>,
) -> impl Iterator<Item = (u32, bool)> {
    let begins = found.difference(known).map(|id| (*id, true));
    begins.chain(known.difference(found).map(|id| (*id, false)))
}

fn tell(shared: &Shared, changes: impl Iterator<Item = (u32, bool)>) {
    // One that was given up is suspect no more, and has no address.
    let known = changes.filter_map(|(id, fails)| Some((address(shared.maps(), id)?, fails)));
    let changes: BTreeMap<_, _> = known.collect();
    if changes.is_empty() {
        return;
    }
    let events = events(&shared.desired(), &changes);
    shared.journal().note(events);
}

/// What is remembered of backends that begin to fail, or no longer do.
fn events(desired: &Desired, changes: &BTreeMap<SocketAddr, bool>) -> Vec<Event> {
    let found = drains::services_of(desired, |backend| changes.contains_key(backend));
    let mut events = Vec::new();
    for (backend, services) in found {
        let text = if changes.get(&backend) == Some(&true) {
            format!("{backend} fails: it gets no connection while another backend does not")
        } else {
            format!("{backend} is no longer suspect")
        };
        let event =
            |service: &ObjectRef| Event::of(EventKind::Suspect, service.clone(), text.clone());
        events.extend(services.into_iter().map(event));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::services::{backend, desired};

    #[test]
    fn each_service_of_a_backend_is_told_once() {
        let desired = desired(&[("api", &[1], &[1, 2]), ("cart", &[2], &[2]), ("web", &[3], &[3])]);
        let changes = [(1, true), (2, false)].map(|(last, fails)| (backend(last).addr(), fails));
        let told: Vec<_> = events(&desired, &changes.into())
            .into_iter()
            .map(|event| (event.object, event.message))
            .collect();
        let fails = "10.0.0.1:80 fails: it gets no connection while another backend does not";
        let want = [
            ("Service shop/api", fails),
            ("Service shop/api", "10.0.0.2:80 is no longer suspect"),
            ("Service shop/cart", "10.0.0.2:80 is no longer suspect"),
        ];
        assert_eq!(told, want.map(|(object, text)| (object.to_owned(), text.to_owned())));
    }

    #[test]
    fn begins_and_ends_are_told_once() {
        let set = |ids: &[u32]| ids.iter().copied().collect::<BTreeSet<u32>>();
        let between = |a: &[u32], b: &[u32]| differing(&set(a), &set(b)).collect::<Vec<_>>();
        assert_eq!(between(&[], &[3]), [(3, true)]);
        assert_eq!(between(&[3], &[3, 4]), [(4, true)]);
        assert_eq!(between(&[3, 4], &[5]), [(5, true), (3, false), (4, false)]);
        assert_eq!(between(&[5], &[5]), []);
    }
}
