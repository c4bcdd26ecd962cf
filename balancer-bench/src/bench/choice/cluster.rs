//! What other nodes have, as if an agent had heard of it.

use std::{mem::offset_of, net::SocketAddrV4, path::Path, time::Duration};

use aya::maps::{HashMap, Map, MapData};
use balancer_common::layout::{
    Counter, LAYOUT_VERSION, Level, MAX_BACKENDS, Row, SLOT_WORDS, Service, Slot, TCP, milliseconds,
};
use balancer_lab::error::{Error, Result};
use nix::time::{ClockId, clock_gettime};

use crate::words::Words;

/// What the others open while a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// Half of the backends may get it.
    Busy,
    /// Nothing: the one with the least gets it.
    Quiet,
}

impl Others {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Busy => "cluster",
            Self::Quiet => "quiet cluster",
        }
    }
}

/// The most connections of others to a backend.
const MOST: u32 = 16;

/// The maps that say so.
pub(super) struct Cluster {
    frontends: HashMap<MapData, [u8; 8], [u8; 8]>,
    services: Words,
    slots: Words,
    active: Words,
}

impl Cluster {
    /// Opens them below the folder of an agent's pins.
    pub(super) fn open(pins: &Path) -> Result<Self> {
        let pin = |name: &str| pins.join(format!("v{LAYOUT_VERSION}/maps/{name}"));
        let failed = |error| Error::Unmet(format!("map FRONTENDS4: {error}; is it balancer's?"));
        let frontends = MapData::from_pin(pin("FRONTENDS4")).map_err(failed)?;
        Ok(Self {
            frontends: HashMap::try_from(Map::HashMap(frontends)).map_err(failed)?,
            services: Words::map(&pin("SERVICES"), 0)?,
            slots: Words::map(&pin("SLOTS"), SLOT_WORDS * 8)?,
            active: Words::map(&pin("ACTIVE"), MAX_BACKENDS as usize * size_of::<Counter>())?,
        })
    }

    /// Says that others have connections to the backends of a Service. It is believed for 3 s.
    pub(super) fn tell(&self, vip: SocketAddrV4, others: Others) -> Result<()> {
        let at = self.service(vip)?;
        let row = Row::unpack(self.services.get((at + offset_of!(Service, row)) / 8));
        let slots = (row.base..row.base + row.len).map(|at| self.slots.get(at as usize));
        for (number, slot) in (0..).zip(slots) {
            let connections = match others {
                // As uneven as the low bits of a product.
                Others::Busy => ((number * 40_503) >> 4) % MOST,
                Others::Quiet => 1 + u32::from(number != row.len / 2),
            };
            let counter = Slot::unpack(slot).backend as usize * size_of::<Counter>();
            let word = Counter::others_of(connections);
            self.active.set_half(counter + offset_of!(Counter, others), word);
        }
        let (floor, span) = match others {
            Others::Busy => (MOST / 2 * 256 - 1, MOST / 2 * 256),
            Others::Quiet => (2 * 256 - 1, 256),
        };
        let now =
            clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
        let level = Level { floor, span, fresh_ms: milliseconds(now.as_nanos() as u64) };
        self.services.set((at + offset_of!(Service, band)) / 8, level.band().pack());
        self.services.set_half(at + offset_of!(Service, fresh), level.fresh_ms);
        Ok(())
    }

    /// Says that nothing is known of others.
    pub(super) fn forget(&self, vip: SocketAddrV4) -> Result<()> {
        let at = self.service(vip)?;
        self.services.set_half(at + offset_of!(Service, fresh), 0);
        Ok(())
    }

    /// Where a Service stands in its map, in bytes.
    fn service(&self, vip: SocketAddrV4) -> Result<usize> {
        let ([a, b, c, d], [high, low]) = (vip.ip().octets(), vip.port().to_be_bytes());
        let found = self.frontends.get(&[a, b, c, d, high, low, TCP, 0], 0);
        let frontend = found.map_err(|error| Error::Unmet(format!("frontend {vip}: {error}")))?;
        let [a, b, c, d, ..] = frontend;
        Ok(u32::from_ne_bytes([a, b, c, d]) as usize * size_of::<Service>())
    }
}
