//! What the numbers of events mean on this node.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use super::{super::shared::Shared, PAUSE, pods::Pods};
use crate::{
    maps::{ReadMaps as _, convert, identity::RowId},
    model::{ObjectRef, Reason},
    moves::ask::address,
    node::holders,
    observe::trace::Known,
    view::PortView,
};

/// Names and pods as they were read last.
pub(super) struct KnownHere {
    shared: Arc<Shared>,
    services: HashMap<u32, (ObjectRef, PortView)>,
    names_read: Instant,
    pods: Pods,
}

impl KnownHere {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let mut new =
            Self { shared, services: HashMap::new(), names_read: now, pods: Pods::new(now) };
        new.refresh();
        new
    }

    /// Reads everything anew: identifiers may mean something else by now.
    pub(super) fn refresh(&mut self) {
        self.read_names();
        self.pods.refresh(&self.shared);
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
        self.pods.of_cgroup(cgroup, Instant::now(), |pods| pods.read(&self.shared))
    }

    fn pod_of_address(&mut self, address: IpAddr) -> Option<ObjectRef> {
        self.pods.of_address(address)
    }

    fn command(&mut self, pid: u32) -> Option<String> {
        holders::name(pid)
    }

    fn ended(&mut self, word: u64) -> Option<(Reason, bool)> {
        let ending = self.shared.moving().ending(word)?;
        Some((ending.reason, ending.permitted))
    }
}
