//! The maps in the kernel, reached through their pins.
//!
//! Arrays are mapped into memory: reading a counter is a load, replacing a row is one store, and
//! neither disturbs the programs. Hash maps go through bpf(2).

mod charges;
mod choice;
mod cluster;
mod connections;
mod probe;
mod read;
mod seats;
mod settled;
mod suspects;
mod table;
mod trace;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    mem::offset_of,
    net::IpAddr,
    os::fd::AsFd as _,
    time::Duration,
};

use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, lpm_trie::Key};
use balancer_common::{
    charge::{self, ALL_WORDS, Charge, WORDS},
    layout::{
        Backend, Band, Client, ClientKey, Control, Counter, Frontend, FrontendKey4, FrontendKey6,
        KEEPS_SUSPECTS, LIFETIME_WORDS, Level, MAX_BACKENDS, MAX_LEVEL, MAX_SLOTS, NodeAddress,
        OutsideFlow, OutsideKey, PAD_BACKEND, RangeKey, Record, RecordState, Row, SEATS,
        SLOT_WORDS, STAYS, Seat, Service, ServiceName, ServingKey, Slot, TICK_SHIFT, TRACED,
    },
    policy::Policy,
    suspect::{self, SUSPECT},
    verdict::Verdict,
};
use nix::time::{ClockId, clock_gettime};
use zerocopy::{FromBytes, FromZeros as _, IntoBytes, transmute};

pub use self::{
    probe::Probe,
    trace::{Dropped, Events},
};
use self::{settled::Settled, table::Table};
use super::{
    Charges, ClusterCounts, Connected, FrontendKey, Gauge, Limits, MapsError, OutsideCharges,
    RangeEntry, ReadChoice, ReadMaps, Settings, WriteMaps, convert, elements::Elements, pins::Pins,
    slab::Slab,
};
use crate::{config::Capacities, node::clock};

pub(crate) type Key4 = [u8; size_of::<FrontendKey4>()];
pub(crate) type Key6 = [u8; size_of::<FrontendKey6>()];
pub(crate) type Value = [u8; size_of::<Frontend>()];
pub(crate) type Name = [u8; size_of::<ServiceName>()];
type Range = [u8; size_of::<RangeKey>()];
type Serving = [u8; size_of::<ServingKey>()];
type Addresses = [u8; size_of::<Client>()];
type Address = [u8; 16];
type Place = [u8; size_of::<NodeAddress>()];
type Pinned = [u8; size_of::<ClientKey>()];
type Flow = [u8; size_of::<OutsideFlow>()];
type FlowKey = [u8; size_of::<OutsideKey>()];

/// The maps in the kernel.
pub struct PinnedMaps {
    limits: Limits,
    affinity: Table<Pinned, u64>,
    active: Elements<Counter>,
    backends: Elements<Backend>,
    charges: Slab,
    settled: Settled,
    records: Elements<Record>,
    services: Elements<Service>,
    since: Elements<u32>,
    slots: Elements<u64>,
    control: Slab,
    clients: Table<u64, Addresses>,
    nodes: Table<Address, Place>,
    outside: Table<FlowKey, Flow>,
    opted_out: Table<u64, u32>,
    ranges: LpmTrie<MapData, Range, u32>,
    serving: Table<Serving, u32>,
    frontends4: Table<Key4, Value>,
    frontends6: Table<Key6, Value>,
    names: Table<u32, Name>,
    verdicts: PerCpuArray<MapData, u64>,
    lifetimes: PerCpuArray<MapData, u64>,
}

impl PinnedMaps {
    /// Opens the maps. Capacities beyond the size of the maps have no effect.
    pub fn open(pins: &Pins, capacities: Capacities) -> Result<Self, MapsError> {
        let backends = Elements::new(array(pins, "BACKENDS", size_of::<Backend>())?);
        let services = Elements::new(array(pins, "SERVICES", size_of::<Service>())?);
        let active = array(pins, "ACTIVE", MAX_BACKENDS as usize * size_of::<Counter>())?;
        let (frontends4, frontends_max) = Table::open(pins, "FRONTENDS4")?;
        let (frontends6, _) = Table::open(pins, "FRONTENDS6")?;
        let (names, names_max) = Table::open(pins, "NAMES")?;
        Ok(Self {
            limits: Limits {
                services: capacities.services.min(services.count()).min(names_max),
                frontends: frontends_max,
                backends: capacities.backends.min(backends.count()).min(MAX_BACKENDS),
                slots: capacities.slots.min(MAX_SLOTS),
            },
            affinity: Table::open(pins, "AFFINITY")?.0,
            active: Elements::new(active),
            backends,
            charges: array(pins, "CHARGES", ALL_WORDS as usize * 8)?,
            settled: Settled::default(),
            records: Elements::new(array(pins, "RECORDS", size_of::<Record>())?),
            services,
            since: Elements::new(array(pins, "SINCE", MAX_BACKENDS as usize * 4)?),
            slots: Elements::new(array(pins, "SLOTS", SLOT_WORDS * 8)?),
            control: array(pins, "CONTROL", size_of::<Control>())?,
            clients: Table::open(pins, "CLIENTS")?.0,
            nodes: Table::open(pins, "NODES")?.0,
            outside: Table::open(pins, "OUTSIDE")?.0,
            opted_out: Table::open(pins, "OPTED_OUT")?.0,
            ranges: typed("RANGES", LpmTrie::try_from(Map::LpmTrie(data(pins, "RANGES")?)))?,
            serving: Table::open(pins, "SERVING")?.0,
            frontends4,
            frontends6,
            names,
            verdicts: per_cpu(pins, "VERDICTS")?,
            lifetimes: per_cpu(pins, "LIFETIMES")?,
        })
    }

    /// Sets the number of open connections of a backend that no program counts on.
    pub(crate) fn set_active(&self, backend: u32, active: u32) {
        self.active.set32(backend, ACTIVE, active);
    }
}

/// Where the half of a counter is that programs change: the lower one of its word.
const ACTIVE: usize = offset_of!(Counter, active);

const _: () = assert!(ACTIVE == 0 && cfg!(target_endian = "little"));

fn data(pins: &Pins, map: &'static str) -> Result<MapData, MapsError> {
    MapData::from_pin(pins.map(map)).map_err(failed(map, "open"))
}

/// A mapped array of values of `size` bytes.
fn array(pins: &Pins, map: &'static str, size: usize) -> Result<Slab, MapsError> {
    let data = data(pins, map)?;
    let info = data.info().map_err(failed(map, "info"))?;
    if info.value_size() as usize != size {
        let problem = format!("values have {} bytes, not {size}", info.value_size());
        return Err(MapsError::Foreign { map, problem });
    }
    // The kernel rounds the distance of elements up to 8 bytes; every size here is a multiple.
    let bytes = size * info.max_entries() as usize;
    let call = |source| MapsError::Call { map, operation: "mmap", source };
    Slab::map(data.fd().as_fd(), bytes).map_err(call)
}

fn per_cpu(pins: &Pins, name: &'static str) -> Result<PerCpuArray<MapData, u64>, MapsError> {
    typed(name, PerCpuArray::try_from(Map::PerCpuArray(data(pins, name)?)))
}

fn typed<T>(map: &'static str, result: Result<T, MapError>) -> Result<T, MapsError> {
    result.map_err(|error| MapsError::Foreign { map, problem: error.to_string() })
}

fn failed(map: &'static str, operation: &'static str) -> impl Fn(MapError) -> MapsError {
    move |error| {
        let source = match error {
            MapError::SyscallError(error) => error.io_error,
            other => io::Error::other(other),
        };
        MapsError::Call { map, operation, source }
    }
}

/// An entry that isn't there can't be removed, which is fine.
fn absent_is_fine(result: Result<(), MapsError>) -> Result<(), MapsError> {
    match result {
        Err(MapsError::Call { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {
            Ok(())
        }
        other => other,
    }
}
