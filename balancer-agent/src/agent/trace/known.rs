//! What the numbers of events mean on this node.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::shared::Shared;
use crate::{
    maps::{ReadMaps as _, convert, identity::RowId},
    model::{ObjectRef, Reason},
    moves::ask::address,
    node::holders,
    observe::trace::Known,
    pods,
    view::PortView,
};

/// What passes at least before names or cgroups are read anew because one is not known.
const PAUSE: Duration = Duration::from_millis(100);

/// Names and cgroups as they were read last.
pub(super) struct KnownHere {
    shared: Arc<Shared>,
    services: HashMap<u32, (ObjectRef, PortView)>,
    cgroups: BTreeMap<u64, ObjectRef>,
    addresses: BTreeMap<IpAddr, ObjectRef>,
    names_read: Instant,
    pods_read: Instant,
}

impl KnownHere {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let (services, cgroups, addresses) = Default::default();
        let mut new =
            Self { shared, services, cgroups, addresses, names_read: now, pods_read: now };
        new.refresh();
        new
    }

    /// Reads everything anew: identifiers may mean something else by now.
    pub(super) fn refresh(&mut self) {
        self.read_names();
        self.read_pods();
    }

    fn read_names(&mut self) {
        self.names_read = Instant::now();
        match self.shared.maps().names() {
            Ok(names) => {
                let service = |(id, name)| {
                    let RowId { port, .. } = convert::row_id(&name)?;
                    let (name, number, protocol) = (port.port, name.port, port.protocol);
                    Some((id, (port.service, PortView { name, number, protocol })))
                };
                self.services = names.into_iter().filter_map(service).collect();
            }
            Err(error) => tracing::debug!("names can't be read: {error}"),
        }
    }

    fn read_pods(&mut self) {
        self.pods_read = Instant::now();
        // Held while the kernel is asked would keep changes from the maps.
        let pods = self.shared.desired().pods.clone();
        let on_their_own = pods.values().filter(|pod| !pod.host_network);
        let address = on_their_own
            .flat_map(|pod| pod.addresses.iter().map(|address| (*address, pod.id.clone())));
        self.addresses = address.collect();
        match pods::owners(self.shared.cgroup(), &pods) {
            Ok(owners) => self.cgroups = owners,
            Err(error) => tracing::debug!("pods can't be told: {error}"),
        }
    }
}

impl Known for KnownHere {
    fn service(&mut self, id: u32) -> Option<(ObjectRef, PortView)> {
        if !self.services.contains_key(&id) && self.names_read.elapsed() >= PAUSE {
            self.read_names();
        }
        self.services.get(&id).cloned()
    }

    fn backend(&mut self, id: u32) -> Option<SocketAddr> {
        address(self.shared.maps(), id)
    }

    fn pod_of_cgroup(&mut self, cgroup: u64) -> Option<ObjectRef> {
        if !self.cgroups.contains_key(&cgroup) && self.pods_read.elapsed() >= PAUSE {
            self.read_pods();
        }
        self.cgroups.get(&cgroup).cloned()
    }

    fn pod_of_address(&mut self, address: IpAddr) -> Option<ObjectRef> {
        self.addresses.get(&address).cloned()
    }

    fn command(&mut self, pid: u32) -> Option<String> {
        holders::name(pid)
    }

    fn ended(&mut self, word: u64) -> Option<(Reason, bool)> {
        let ending = self.shared.moving().ending(word)?;
        Some((ending.reason, ending.permitted))
    }
}
