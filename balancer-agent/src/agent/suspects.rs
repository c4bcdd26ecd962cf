//! Which backends begin to fail, and answer again: programs say so in the maps alone.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{sync::watch::Receiver, time::MissedTickBehavior};

use super::{drains, journal::Event, shared::Shared};
use crate::{moves::ask::address, view::EventKind};

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
        for (id, fails) in differing(&known, &found) {
            tell(&shared, id, fails);
        }
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

fn tell(shared: &Shared, id: u32, fails: bool) {
    // One that was given up is suspect no more, and has no address.
    let Some(address) = address(shared.maps(), id) else { return };
    let text = if fails {
        format!("{address} fails: it gets no connection while another backend does not")
    } else {
        format!("{address} is no longer suspect")
    };
    let desired = shared.desired();
    let services = drains::services(&desired, address);
    let event = |service| Event::of(EventKind::Suspect, service, text.clone());
    let events = services.into_iter().map(event);
    shared.journal().note(events);
}

#[cfg(test)]
mod tests {
    use super::*;

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
