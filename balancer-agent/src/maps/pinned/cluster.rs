//! What other nodes have, in the maps of the kernel.

use balancer_common::layout::{CLUSTER_FRACTION, Counter, milliseconds};

use super::*;

/// Where the words of a Service port stand that say which of its backends may get a connection.
const BAND: usize = offset_of!(Service, band);
const FRESH: usize = offset_of!(Service, fresh);
/// Where the half of a counter is that programs only read.
const OTHERS: usize = offset_of!(Counter, others);

impl ClusterCounts for PinnedMaps {
    fn set_others(&self, backend: u32, connections: u32) {
        if backend != PAD_BACKEND {
            self.active.set32(backend, OTHERS, Counter::others_of(connections));
        }
    }

    fn others(&self, backend: u32) -> u32 {
        self.active.get32(backend, OTHERS) >> CLUSTER_FRACTION
    }

    fn set_level(&self, service: u32, level: Level) {
        self.services.set64(service, BAND, level.band().pack());
        self.services.set32(service, FRESH, level.fresh_ms);
    }

    fn level(&self, service: u32) -> Option<Level> {
        let fresh_ms = self.services.get32(service, FRESH);
        let Band { floor, span } = Band::unpack(self.services.get64(service, BAND));
        (fresh_ms != 0).then_some(Level { floor, span, fresh_ms })
    }

    fn now_ms(&self) -> u32 {
        // Every Linux has this clock.
        let now =
            clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
        milliseconds(now.as_nanos() as u64)
    }
}

impl PinnedMaps {
    /// Forgets what was said of a Service port.
    pub(super) fn forget_level(&self, service: u32) {
        self.services.set32(service, FRESH, 0);
    }
}
