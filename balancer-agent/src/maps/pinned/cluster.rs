//! What other nodes have, in the maps of the kernel.

use balancer_common::layout::{CLUSTER_FRACTION, Counter, milliseconds};

use super::*;

/// Where the words of a Service port stand that say which of its backends may get a connection.
fn level_at(service: u32) -> (usize, usize) {
    let at = service as usize * size_of::<Service>();
    (at + offset_of!(Service, band), at + offset_of!(Service, fresh))
}

fn others_at(backend: u32) -> usize {
    backend as usize * size_of::<Counter>() + offset_of!(Counter, others)
}

impl ClusterCounts for PinnedMaps {
    fn set_others(&self, backend: u32, connections: u32) {
        if backend != PAD_BACKEND {
            self.active.set32(others_at(backend), Counter::others_of(connections));
        }
    }

    fn others(&self, backend: u32) -> u32 {
        self.active.get32(others_at(backend)) >> CLUSTER_FRACTION
    }

    fn set_level(&self, service: u32, level: Level) {
        let (band, fresh) = level_at(service);
        self.services.set64(band, level.band().pack());
        self.services.set32(fresh, level.fresh_ms);
    }

    fn level(&self, service: u32) -> Option<Level> {
        let (band, fresh) = level_at(service);
        let fresh_ms = self.services.get32(fresh);
        let Band { floor, span } = Band::unpack(self.services.get64(band));
        (fresh_ms != 0).then_some(Level { floor, span, fresh_ms })
    }

    fn now_ms(&self) -> u32 {
        // Every Linux has this clock.
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        milliseconds(now.as_nanos() as u64)
    }
}

impl PinnedMaps {
    /// Forgets what was said of a Service port.
    pub(super) fn forget_level(&self, service: u32) {
        self.services.set32(level_at(service).1, 0);
    }
}
