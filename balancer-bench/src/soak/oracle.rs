//! Whether what balancer counts is what is open. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    maps::BackendId,
    model::{Claim, Doubt},
    wire::Claims,
};

/// How long the agent may take to settle a doubt: it looks every 2 s, and waits 5 s.
const SETTLED_MS: u64 = 15_000;

/// Everything that is known at a quiet point.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// What the workers claim.
    pub(super) claims: Claims,
    /// What the kernel says is connected, by the socket, before the charges were read.
    pub(super) connected: BTreeMap<u64, BackendId>,
    /// Sockets of which the kernel says something else after the charges were read: connections
    /// that time out meanwhile, or that the other side ends.
    pub(super) moving: BTreeSet<u64>,
    /// What balancer charges, by the socket.
    pub(super) charges: Vec<(u64, BackendId)>,
    /// What balancer counts.
    pub(super) active: BTreeMap<BackendId, u64>,
    /// Whether an agent ran long enough to settle doubts.
    pub(super) settled: bool,
}

/// What is wrong at a quiet point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The largest difference of any backend, between its count and its sockets.
    pub largest: u64,
    /// Each difference, as a sentence.
    pub said: Vec<String>,
    /// The sockets of which something is said.
    pub(super) sockets: BTreeSet<u64>,
}

impl Differences {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    fn say(&mut self, sentence: impl fmt::Display) {
        self.said.push(sentence.to_string());
    }
}

/// What must be charged for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    To(BackendId),
    Something,
    Either,
}

impl Sight {
    fn expected(&self, cookie: u64) -> Expected {
        if self.moving.contains(&cookie) {
            return Expected::Either;
        }
        let Some(told) = self.claims.get(&cookie) else { return Expected::Nothing };
        match told.claim {
            Claim::Free => Expected::Nothing,
            Claim::Dialled => {
                self.connected.get(&cookie).map_or(Expected::Nothing, |peer| Expected::To(*peer))
            }
            Claim::Datagrams => Expected::Something,
            Claim::Doubtful(Doubt::Failed | Doubt::Dissolved)
                if self.settled && told.age_ms > SETTLED_MS =>
            {
                Expected::Nothing
            }
            Claim::Doubtful(_) => Expected::Either,
        }
    }

    /// Every difference between what is counted and what is open.
    pub(super) fn differences(&self) -> Differences {
        let mut found = Differences::default();
        let mut sockets: BTreeMap<BackendId, u64> = BTreeMap::new();
        let mut charged = BTreeSet::new();
        for (cookie, backend) in &self.charges {
            let claim = self.claims.get(cookie).map(|told| told.claim);
            let before = found.said.len();
            if !charged.insert(*cookie) {
                found.say(format_args!("socket {cookie:x} is charged twice"));
            }
            match self.expected(*cookie) {
                Expected::Nothing => found.say(format_args!(
                    "socket {cookie:x} ({claim:?}) is charged to {backend:?} and should not be"
                )),
                Expected::To(right) if right != *backend => found.say(format_args!(
                    "socket {cookie:x} is charged to {backend:?} and connected to {right:?}"
                )),
                Expected::To(_) => {}
                // Nobody but balancer knows where its datagrams go.
                Expected::Something | Expected::Either => {
                    *sockets.entry(*backend).or_default() += 1;
                }
            }
            if found.said.len() > before {
                found.sockets.insert(*cookie);
            }
        }
        for (cookie, told) in &self.claims {
            let expected = self.expected(*cookie);
            if let Expected::To(backend) = expected {
                *sockets.entry(backend).or_default() += 1;
            }
            if !charged.contains(cookie)
                && matches!(expected, Expected::To(_) | Expected::Something)
            {
                let claim = told.claim;
                found.say(format_args!(
                    "socket {cookie:x} ({claim:?}, {expected:?}) is not charged"
                ));
                found.sockets.insert(*cookie);
            }
        }
        let backends: BTreeSet<_> = self.active.keys().chain(sockets.keys()).collect();
        for backend in backends {
            let count = |of: &BTreeMap<BackendId, u64>| of.get(backend).copied().unwrap_or(0);
            let (counted, open) = (count(&self.active), count(&sockets));
            found.largest = found.largest.max(counted.abs_diff(open));
            if counted != open {
                found.say(format_args!("{backend:?}: counted {counted}, open {open}"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::wire::Told;

    fn sight(claim: Claim, connected: bool, charged: bool) -> Differences {
        let backend = (6, ([10, 244, 0, 1], 8080).into());
        let mut sight = Sight { settled: true, ..Sight::default() };
        sight.claims.insert(7, Told { cookie: 7, claim, age_ms: SETTLED_MS + 1 });
        if connected {
            sight.connected.insert(7, backend);
        }
        if charged {
            sight.charges.push((7, backend));
        }
        sight.active.insert(backend, u64::from(charged));
        sight.differences()
    }

    #[test]
    fn a_charge_stands_exactly_while_its_socket_is_connected() {
        assert!(sight(Claim::Dialled, true, true).is_empty());
        assert!(sight(Claim::Dialled, false, false).is_empty());
        assert_eq!(sight(Claim::Dialled, true, false).largest, 1);
        assert_eq!(sight(Claim::Dialled, false, true).largest, 1);
        assert_eq!(sight(Claim::Free, true, true).largest, 1);
        assert!(sight(Claim::Datagrams, false, true).is_empty());
        assert!(!sight(Claim::Datagrams, false, false).is_empty());
        assert_eq!(sight(Claim::Doubtful(Doubt::Failed), false, true).largest, 1);
        assert!(sight(Claim::Doubtful(Doubt::Datagrams), false, true).is_empty());
    }

    #[test]
    fn a_charge_without_a_socket_is_a_leak() {
        let backend = (6, ([10, 244, 0, 1], 8080).into());
        let sight = Sight {
            charges: vec![(9, backend)],
            active: [(backend, 1)].into(),
            ..Sight::default()
        };
        let found = sight.differences();
        assert_eq!((found.largest, found.said.len()), (1, 2), "{found:?}");
    }
}
