//! What must hold of connections that are ended, whatever happens.

use std::{collections::BTreeMap, time::Duration};

use super::{
    course::LAST_FAULT,
    mover::{BUDGET, Connection, Ended},
    truth::BACKENDS,
};

/// How long after the last change everybody knows it: what is permitted then is of use.
const KNOWN: Duration = Duration::from_secs(4);
/// How long after the last fault at most a node may do without a steward.
const ANSWERED: Duration = Duration::from_secs(5);
/// For how long moves are watched, and until when they must be at rest.
const WATCHED: Duration = LAST_FAULT.saturating_add(Duration::from_secs(14));
const REST: Duration = LAST_FAULT.saturating_add(Duration::from_secs(60));

/// What was ended so far.
pub(crate) struct Moves {
    /// True where something goes wrong in this course.
    has_faults: bool,
    /// When connections came or went, or something else happened that nodes have to hear of.
    changed: Duration,
    /// When the last was ended.
    last: Duration,
    /// The same for each Service: some have backends in common, and stewards hear of each other's ends.
    last_of: BTreeMap<usize, Duration>,
    /// Those that were permitted, by Service.
    permitted: BTreeMap<usize, u32>,
    ends: usize,
    wasted: usize,
}

impl Moves {
    pub(crate) fn new(has_faults: bool) -> Self {
        Self {
            has_faults,
            changed: Duration::ZERO,
            last: Duration::ZERO,
            last_of: BTreeMap::new(),
            permitted: BTreeMap::new(),
            ends: 0,
            wasted: 0,
        }
    }

    /// Something happens that nodes have to hear of.
    pub(crate) fn changed(&mut self, now: Duration) {
        self.changed = now;
    }

    /// A connection was ended; `totals` are those of all nodes before, seats among them.
    pub(crate) fn ended(
        &mut self,
        now: Duration,
        end: &Ended,
        totals: &mut [u32; BACKENDS],
    ) -> Result<(), String> {
        let Connection { service, backend: from, client, .. } = end.connection;
        (self.last, self.ends) = (now, self.ends + 1);
        self.last_of.insert(service, now);
        let Some(to) = end.to else {
            totals[from] -= 1;
            if !self.has_faults || now >= LAST_FAULT + ANSWERED {
                let why = if end.alone { "it is alone" } else { "no steward answers" };
                return Err(format!("client {client} is moved without a permit, as {why}"));
            }
            self.changed = now;
            return Ok(());
        };
        let permitted = self.permitted.entry(service).or_default();
        *permitted += 1;
        if !self.has_faults && *permitted > BUDGET {
            return Err(format!("{permitted} moves of Service {service}, of {BUDGET} at most"));
        }
        let helps = totals[from] >= totals[to] + 2;
        totals[from] -= 1;
        totals[to] += 1;
        if !helps {
            self.wasted += 1;
            let others = self.last_of.iter().filter(|(other, _)| **other != service);
            let changed = others.map(|(_, at)| *at).fold(self.changed, Duration::max);
            if changed + KNOWN <= now {
                return Err(format!(
                    "client {client} is moved from backend {from} to {to} for nothing ({totals:?} then), \
                     and nothing has changed since {changed:?}"
                ));
            }
        }
        Ok(())
    }

    /// True once all that can be seen has been.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        now >= WATCHED && (self.last.max(self.changed) + KNOWN <= now || now >= REST)
    }

    /// How many connections were ended, and how many of those for nothing.
    pub(crate) const fn moved(&self) -> (usize, usize) {
        (self.ends, self.wasted)
    }
}
