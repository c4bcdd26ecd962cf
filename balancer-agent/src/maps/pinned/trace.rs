//! What programs tell of choices and ends.
#![allow(unsafe_code, reason = "whoever awaits a descriptor promises that it stays")]

use std::os::fd::{AsRawFd, RawFd};

use aya::maps::RingBuf;
use balancer_common::layout::{Trace, TraceEvent};
use tokio::io::{Interest, unix::AsyncFd};

use super::*;

/// How many events were not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The budget had no room for them.
    pub capped: u64,
    /// The ring buffer had none.
    pub full: u64,
}

/// The events, and the switch that has programs tell them. For one reader at a time: whoever reads
/// an event takes it.
pub struct Events {
    control: Slab,
    trace: Slab,
    ring: RingBuf<MapData>,
}

impl Events {
    /// Opens the maps. Nothing is told yet.
    pub fn open(pins: &Pins) -> Result<Self, MapsError> {
        Ok(Self {
            control: array(pins, "CONTROL", size_of::<Control>())?,
            trace: array(pins, "TRACE", size_of::<Trace>())?,
            ring: typed("EVENTS", RingBuf::try_from(Map::RingBuf(data(pins, "EVENTS")?)))?,
        })
    }

    /// Has programs tell what `wanted` has the bits of, for this long: at most `budget` events in
    /// about a second.
    pub fn switch_on(&self, wanted: u32, budget: u32, how_long: Duration) {
        self.trace.set32(offset_of!(Trace, wanted), wanted);
        self.trace.set32(offset_of!(Trace, budget), budget);
        let until = (clock::now() + how_long).as_nanos() as u64;
        self.trace.set64(offset_of!(Trace, until), until);
        self.set_switch(TRACED);
    }

    /// Has programs tell nothing more.
    pub fn switch_off(&self) {
        self.set_switch(0);
        self.trace.set64(offset_of!(Trace, until), 0);
    }

    fn set_switch(&self, bit: u32) {
        let at = offset_of!(Control, opted_out_levels);
        loop {
            let held = self.control.get32(at);
            if self.control.swap32(at, held, held & !TRACED | bit) {
                return;
            }
        }
    }

    /// How many were not told since the maps were made.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            capped: self.trace.get64(offset_of!(Trace, capped)),
            full: self.trace.get64(offset_of!(Trace, full)),
        }
    }

    /// The next event, if there is one; what is none of this version is passed over.
    pub fn take(&mut self) -> Option<TraceEvent> {
        while let Some(item) = self.ring.next() {
            if let Ok(event) = TraceEvent::read_from_bytes(&item) {
                return Some(event);
            }
        }
        None
    }
}

impl Events {
    /// The same for a task, which can wait until there is an event.
    pub fn awaited(self) -> Result<AsyncFd<Self>, MapsError> {
        // SAFETY: the descriptor is that of the ring buffer, which is never replaced and lives as
        // long as this does.
        let registered = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        let call = |source| MapsError::Call { map: "EVENTS", operation: "poll", source };
        registered.map_err(|error| call(error.into_parts().1))
    }
}

/// Readable while there are events.
impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
