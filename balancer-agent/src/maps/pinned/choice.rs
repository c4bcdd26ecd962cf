//! What a choice looks at beside rows and counters, in the maps of the kernel.

use balancer_common::layout::Pin;

use super::*;

impl ReadChoice for PinnedMaps {
    fn since(&self, backend: u32) -> u32 {
        self.since.get32(backend, 0)
    }

    fn cursor(&self, service: u32) -> u32 {
        self.services.get32(service, offset_of!(Service, cursor))
    }

    fn node(&self, address: IpAddr) -> Result<Option<NodeAddress>, MapsError> {
        let found = self.nodes.get(&transmute!(convert::address(address)))?;
        Ok(found.map(|found| transmute!(found)))
    }

    fn clients(&self) -> Result<Vec<(u64, Vec<IpAddr>)>, MapsError> {
        self.clients
            .all(|netns, addresses| (netns, convert::client_addresses(&transmute!(addresses))))
    }

    fn seat(&self, service: u32) -> Option<u32> {
        self.seat_words(service).map(|seat| seat.backend).next()
    }

    fn pin(&self, netns: u64, group: u32) -> Result<Option<Pin>, MapsError> {
        let word = self.affinity.get(&transmute!(ClientKey { netns, group, zero: 0 }))?;
        Ok(word.map(Pin::unpack))
    }
}
