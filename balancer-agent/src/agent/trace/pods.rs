//! Whose a cgroup or an address is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use super::{super::shared::Shared, PAUSE};
use crate::{model::ObjectRef, pods};

/// Pods as they were read last.
pub(super) struct Pods {
    cgroups: BTreeMap<u64, ObjectRef>,
    addresses: BTreeMap<IpAddr, ObjectRef>,
    /// Cgroups that are no pod's, as far as they were looked for since the last refresh.
    strangers: BTreeSet<u64>,
    read: Instant,
}

impl Pods {
    /// None are known.
    pub(super) fn new(now: Instant) -> Self {
        let (cgroups, addresses, strangers) = Default::default();
        Self { cgroups, addresses, strangers, read: now }
    }

    /// Reads all anew.
    pub(super) fn refresh(&mut self, shared: &Shared) {
        self.strangers.clear();
        self.read(shared);
    }

    /// Reads all, for one that is not known.
    pub(super) fn read(&mut self, shared: &Shared) {
        self.read = Instant::now();
        // Held while the kernel is asked would keep changes from the maps.
        let pods = shared.desired().pods.clone();
        let on_their_own = pods.values().filter(|pod| !pod.host_network);
        let address = on_their_own
            .flat_map(|pod| pod.addresses.iter().map(|address| (*address, pod.id.clone())));
        self.addresses = address.collect();
        match pods::owners(shared.cgroup(), &pods) {
            Ok(owners) => self.cgroups = owners,
            Err(error) => tracing::debug!("pods can't be told: {error}"),
        }
    }

    /// The pod whose cgroup this is, or one above it. `read` reads all: one may be new. What is no
    /// pod's then is not looked for again before the next refresh: that walks the tree of cgroups.
    pub(super) fn of_cgroup(
        &mut self,
        cgroup: u64,
        now: Instant,
        read: impl FnOnce(&mut Self),
    ) -> Option<ObjectRef> {
        let is_known = self.cgroups.contains_key(&cgroup) || self.strangers.contains(&cgroup);
        if !is_known && now.saturating_duration_since(self.read) >= PAUSE {
            read(self);
            if !self.cgroups.contains_key(&cgroup) {
                self.strangers.insert(cgroup);
            }
        }
        self.cgroups.get(&cgroup).cloned()
    }

    /// The pod that has an address.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<ObjectRef> {
        self.addresses.get(&address).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pods_is_looked_for_once() {
        let start = Instant::now();
        let pod = ObjectRef { namespace: "shop".into(), name: "frontend".into() };
        let mut pods = Pods::new(start);
        let mut walks = 0;
        // A daemon of the node dials all the time; a pod comes after a second.
        for tick in 0..20 {
            let now = start + PAUSE * tick;
            let mut read = |pods: &mut Pods| {
                walks += 1;
                pods.read = now;
                if tick >= 10 {
                    pods.cgroups.insert(11, pod.clone());
                }
            };
            assert_eq!(pods.of_cgroup(7, now, &mut read), None);
            let found = pods.of_cgroup(if tick < 10 { 7 } else { 11 }, now, &mut read);
            assert_eq!(found.is_some(), tick >= 10, "{tick}");
        }
        assert_eq!(walks, 2, "one for each cgroup that was not known");
    }
}
