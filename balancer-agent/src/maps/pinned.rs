//! The maps in the kernel, reached through their pins.
//!
//! Arrays are mapped into memory: reading a counter is a load, replacing a row is one store, and
//! neither disturbs the programs. Hash maps go through bpf(2).

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
    charge::{self, Charge, WORDS},
    layout::{
        Backend, Client, Control, Frontend, FrontendKey4, FrontendKey6, MAX_BACKENDS, MAX_LEVEL,
        MAX_SLOTS, RangeKey, Record, RecordState, Row, SLOT_WORDS, Service, ServiceName, Slot,
        TICK_SHIFT,
    },
    policy::Policy,
    verdict::Verdict,
};
use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use zerocopy::{FromBytes, FromZeros as _, IntoBytes, transmute};

use super::{Charges, Connected, FrontendKey, Limits, MapsError, ReadMaps, Settings, WriteMaps};
use crate::{
    config::Capacities,
    kernel::{pins::Pins, slab::Slab},
    plan::convert,
};

type Key4 = [u8; size_of::<FrontendKey4>()];
type Key6 = [u8; size_of::<FrontendKey6>()];
type Value = [u8; size_of::<Frontend>()];
type Name = [u8; size_of::<ServiceName>()];
type Range = [u8; size_of::<RangeKey>()];
type Addresses = [u8; size_of::<Client>()];

/// The maps in the kernel.
pub struct PinnedMaps {
    limits: Limits,
    active: Slab,
    backends: Slab,
    charges: Slab,
    records: Slab,
    services: Slab,
    since: Slab,
    slots: Slab,
    control: Slab,
    clients: HashMap<MapData, u64, Addresses>,
    opted_out: HashMap<MapData, u64, u32>,
    ranges: LpmTrie<MapData, Range, u32>,
    frontends4: HashMap<MapData, Key4, Value>,
    frontends6: HashMap<MapData, Key6, Value>,
    names: HashMap<MapData, u32, Name>,
    verdicts: PerCpuArray<MapData, u64>,
}

impl PinnedMaps {
    /// Opens the maps. Capacities beyond what the maps were made with have no effect.
    pub fn open(pins: &Pins, capacities: Capacities) -> Result<Self, MapsError> {
        let (backends, backends_max) = array(pins, "BACKENDS", size_of::<Backend>())?;
        let (services, services_max) = array(pins, "SERVICES", size_of::<Service>())?;
        let (frontends4, frontends_max) = hash(pins, "FRONTENDS4")?;
        let (frontends6, _) = hash(pins, "FRONTENDS6")?;
        let (names, names_max) = hash(pins, "NAMES")?;
        Ok(Self {
            limits: Limits {
                services: capacities.services.min(services_max).min(names_max),
                frontends: frontends_max,
                backends: capacities.backends.min(backends_max).min(MAX_BACKENDS),
                slots: capacities.slots.min(MAX_SLOTS),
            },
            active: array(pins, "ACTIVE", MAX_BACKENDS as usize * 4)?.0,
            backends,
            charges: array(pins, "CHARGES", WORDS as usize * 8)?.0,
            records: array(pins, "RECORDS", size_of::<Record>())?.0,
            services,
            since: array(pins, "SINCE", MAX_BACKENDS as usize * 4)?.0,
            slots: array(pins, "SLOTS", SLOT_WORDS * 8)?.0,
            control: array(pins, "CONTROL", size_of::<Control>())?.0,
            clients: typed("CLIENTS", HashMap::try_from(Map::HashMap(data(pins, "CLIENTS")?)))?,
            opted_out: {
                let data = data(pins, "OPTED_OUT")?;
                typed("OPTED_OUT", HashMap::try_from(Map::HashMap(data)))?
            },
            ranges: typed("RANGES", LpmTrie::try_from(Map::LpmTrie(data(pins, "RANGES")?)))?,
            frontends4: typed("FRONTENDS4", HashMap::try_from(Map::HashMap(frontends4)))?,
            frontends6: typed("FRONTENDS6", HashMap::try_from(Map::HashMap(frontends6)))?,
            names: typed("NAMES", HashMap::try_from(Map::HashMap(names)))?,
            verdicts: {
                let data = data(pins, "VERDICTS")?;
                typed("VERDICTS", PerCpuArray::try_from(Map::PerCpuArray(data)))?
            },
        })
    }

    /// Every charge: index and word.
    fn standing(&self) -> impl Iterator<Item = (u32, u64)> {
        let words = (0..WORDS).map(|index| (index, self.charge(index)));
        words.filter(|(_, word)| charge::is_charge(*word))
    }

    /// [`Record::state`], which shares its word with `port` and is read with it: there are no 2-byte
    /// accesses.
    fn record_state(&self, index: u32) -> u16 {
        let at = index as usize * size_of::<Record>() + offset_of!(Record, port);
        let [_, _, low, high] = self.records.get32(at).to_ne_bytes();
        u16::from_ne_bytes([low, high])
    }

    /// Sets the number of open connections of a backend that no program counts on.
    pub(crate) fn set_active(&self, backend: u32, active: u32) {
        self.active.set32(backend as usize * 4, active);
    }
}

fn data(pins: &Pins, map: &'static str) -> Result<MapData, MapsError> {
    MapData::from_pin(pins.map(map)).map_err(failed(map, "open"))
}

/// A mapped array of values of `size` bytes, and its number of elements.
fn array(pins: &Pins, map: &'static str, size: usize) -> Result<(Slab, u32), MapsError> {
    let data = data(pins, map)?;
    let info = data.info().map_err(failed(map, "info"))?;
    if info.value_size() as usize != size {
        let problem = format!("values have {} bytes, not {size}", info.value_size());
        return Err(MapsError::Foreign { map, problem });
    }
    // The kernel rounds the distance of elements up to 8 bytes; every size here is a multiple.
    let bytes = size * info.max_entries() as usize;
    let slab = Slab::map(data.fd().as_fd(), bytes).map_err(|source| MapsError::Call {
        map,
        operation: "mmap",
        source,
    })?;
    Ok((slab, info.max_entries()))
}

fn hash(pins: &Pins, map: &'static str) -> Result<(MapData, u32), MapsError> {
    let data = data(pins, map)?;
    let max = data.info().map_err(failed(map, "info"))?.max_entries();
    Ok((data, max))
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

fn all<K: aya::Pod, V: aya::Pod, A, B>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
    convert: impl Fn(K, V) -> (A, B),
) -> Result<Vec<(A, B)>, MapsError> {
    map.iter()
        .map(|entry| entry.map(|(k, v)| convert(k, v)).map_err(failed(name, "read")))
        .collect()
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

impl ReadMaps for PinnedMaps {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn frontends(&self) -> Result<Vec<(FrontendKey, Frontend)>, MapsError> {
        let mut frontends = all(&self.frontends4, "FRONTENDS4", |key, value| {
            (FrontendKey::V4(transmute!(key)), transmute!(value))
        })?;
        frontends.extend(all(&self.frontends6, "FRONTENDS6", |key, value| {
            (FrontendKey::V6(transmute!(key)), transmute!(value))
        })?);
        Ok(frontends)
    }

    fn names(&self) -> Result<Vec<(u32, ServiceName)>, MapsError> {
        all(&self.names, "NAMES", |id, name| {
            (id, ServiceName::read_from_bytes(&name).unwrap_or_else(|_| ServiceName::new_zeroed()))
        })
    }

    fn row(&self, service: u32) -> Row {
        let at = service as usize * size_of::<Service>() + offset_of!(Service, row);
        Row::unpack(self.services.get64(at))
    }

    fn settings(&self, service: u32) -> Settings {
        let at = service as usize * size_of::<Service>();
        let word = |offset| self.services.get32(at + offset);
        Settings {
            // What no agent of this version wrote differs from everything that is desired.
            policy: Policy::from_raw(word(offset_of!(Service, policy)) as u8).unwrap_or_default(),
            affinity: word(offset_of!(Service, affinity)),
            slow_start: word(offset_of!(Service, slow_start)),
            group: word(offset_of!(Service, group)),
        }
    }

    fn ranges(&self) -> Result<Vec<(u32, IpNet)>, MapsError> {
        let mut ranges = Vec::new();
        for key in self.ranges.keys() {
            let key = key.map_err(failed("RANGES", "read"))?;
            let range: RangeKey = transmute!(key.data());
            ranges.extend(convert::range_of(key.prefix_len(), &range));
        }
        Ok(ranges)
    }

    fn slot(&self, index: u32) -> Slot {
        Slot::unpack(self.slots.get64(index as usize * 8))
    }

    fn backend(&self, backend: u32) -> Backend {
        let at = backend as usize * size_of::<Backend>();
        let words: [u64; size_of::<Backend>() / 8] =
            std::array::from_fn(|word| self.backends.get64(at + word * 8));
        transmute!(words)
    }

    fn active(&self, backend: u32) -> u32 {
        self.active.get32(backend as usize * 4)
    }

    fn charges(&self) -> u32 {
        WORDS
    }

    fn charge(&self, index: u32) -> u64 {
        self.charges.get64(index as usize * 8)
    }

    fn record_service(&self, index: u32) -> u32 {
        let at = index as usize * size_of::<Record>() + offset_of!(Record, service);
        self.records.get32(at)
    }

    fn verdict(&self, verdict: Verdict) -> Result<u64, MapsError> {
        let values =
            self.verdicts.get(&verdict.counter(), 0).map_err(failed("VERDICTS", "read"))?;
        Ok(values.iter().sum())
    }
}

impl WriteMaps for PinnedMaps {
    fn put_frontend(&mut self, key: FrontendKey, value: Frontend) -> Result<(), MapsError> {
        let value: Value = transmute!(value);
        match key {
            FrontendKey::V4(key) => {
                let key: Key4 = transmute!(key);
                self.frontends4.insert(key, value, 0).map_err(failed("FRONTENDS4", "update"))
            }
            FrontendKey::V6(key) => {
                let key: Key6 = transmute!(key);
                self.frontends6.insert(key, value, 0).map_err(failed("FRONTENDS6", "update"))
            }
        }
    }

    fn remove_frontend(&mut self, key: FrontendKey) -> Result<(), MapsError> {
        absent_is_fine(match key {
            FrontendKey::V4(key) => {
                let key: Key4 = transmute!(key);
                self.frontends4.remove(&key).map_err(failed("FRONTENDS4", "delete"))
            }
            FrontendKey::V6(key) => {
                let key: Key6 = transmute!(key);
                self.frontends6.remove(&key).map_err(failed("FRONTENDS6", "delete"))
            }
        })
    }

    fn put_name(&mut self, service: u32, name: &ServiceName) -> Result<(), MapsError> {
        let mut bytes: Name = [0; size_of::<ServiceName>()];
        bytes.copy_from_slice(name.as_bytes());
        self.names.insert(service, bytes, 0).map_err(failed("NAMES", "update"))
    }

    fn remove_name(&mut self, service: u32) -> Result<(), MapsError> {
        absent_is_fine(self.names.remove(&service).map_err(failed("NAMES", "delete")))
    }

    fn set_row(&mut self, service: u32, row: Row) {
        let at = service as usize * size_of::<Service>() + offset_of!(Service, row);
        let generation = Row::generation(self.services.get64(at)).wrapping_add(1);
        self.services.set64(at, row.pack(generation));
    }

    fn set_settings(&mut self, service: u32, settings: Settings) {
        let at = service as usize * size_of::<Service>();
        let Settings { policy, affinity, slow_start, group } = settings;
        self.services.set32(at + offset_of!(Service, policy), policy as u32);
        self.services.set32(at + offset_of!(Service, affinity), affinity);
        self.services.set32(at + offset_of!(Service, slow_start), slow_start);
        self.services.set32(at + offset_of!(Service, group), group);
    }

    fn put_range(&mut self, service: u32, range: IpNet) -> Result<(), MapsError> {
        let (bits, key) = convert::range(service, range);
        let key: Range = transmute!(key);
        self.ranges.insert(&Key::new(bits, key), 1, 0).map_err(failed("RANGES", "update"))
    }

    fn remove_range(&mut self, service: u32, range: IpNet) -> Result<(), MapsError> {
        let (bits, key) = convert::range(service, range);
        let key: Range = transmute!(key);
        absent_is_fine(self.ranges.remove(&Key::new(bits, key)).map_err(failed("RANGES", "delete")))
    }

    fn set_slot(&mut self, index: u32, slot: Slot) {
        self.slots.set64(index as usize * 8, slot.pack());
    }

    fn put_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8) {
        let entry = Backend { addr, port, protocol, in_use: 1, ..Backend::default() };
        let words: [u64; size_of::<Backend>() / 8] = transmute!(entry);
        self.set_active(backend, 0);
        self.since.set32(backend as usize * 4, now());
        let at = backend as usize * size_of::<Backend>();
        for (word, value) in words.into_iter().enumerate() {
            self.backends.set64(at + word * 8, value);
        }
    }

    fn remove_backend(&mut self, backend: u32) {
        let at = backend as usize * size_of::<Backend>();
        for word in 0..size_of::<Backend>() / 8 {
            self.backends.set64(at + word * 8, 0);
        }
    }

    fn set_opted_out(&mut self, cgroups: &BTreeMap<u64, u32>) -> Result<(), MapsError> {
        let held = all(&self.opted_out, "OPTED_OUT", |cgroup, level| (cgroup, level))?;
        let held: BTreeMap<u64, u32> = held.into_iter().collect();
        for (cgroup, level) in cgroups.iter().filter(|(_, level)| **level <= MAX_LEVEL) {
            if held.get(cgroup) != Some(level) {
                let inserted = self.opted_out.insert(cgroup, level, 0);
                inserted.map_err(failed("OPTED_OUT", "update"))?;
            }
        }
        let levels: BTreeSet<_> = cgroups.values().filter(|level| **level <= MAX_LEVEL).collect();
        let levels = levels.into_iter().fold(0, |levels, level| levels | 1 << level);
        self.control.set32(offset_of!(Control, opted_out_levels), levels);
        for cgroup in held.keys().filter(|cgroup| !cgroups.contains_key(cgroup)) {
            let removed = self.opted_out.remove(cgroup).map_err(failed("OPTED_OUT", "delete"));
            absent_is_fine(removed)?;
        }
        Ok(())
    }

    fn set_clients(&mut self, clients: &BTreeMap<u64, Vec<IpAddr>>) -> Result<(), MapsError> {
        let held = all(&self.clients, "CLIENTS", |netns, addresses| (netns, addresses))?;
        let held: BTreeMap<u64, Addresses> = held.into_iter().collect();
        for (netns, addresses) in clients {
            let addresses: Addresses = transmute!(convert::client(addresses));
            if held.get(netns) != Some(&addresses) {
                let inserted = self.clients.insert(netns, addresses, 0);
                inserted.map_err(failed("CLIENTS", "update"))?;
            }
        }
        for netns in held.keys().filter(|netns| !clients.contains_key(netns)) {
            absent_is_fine(self.clients.remove(netns).map_err(failed("CLIENTS", "delete")))?;
        }
        Ok(())
    }

    fn grace(&mut self) {
        crate::kernel::grace();
    }
}

/// Now, in ticks of the clock that programs read.
fn now() -> u32 {
    // Every Linux has this clock.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    (now.as_nanos() >> TICK_SHIFT) as u32
}

/// The words of the table of charges.
struct ChargeWords<'a>(&'a Slab);

impl charge::Words for ChargeWords<'_> {
    fn load(&self, index: u32) -> u64 {
        self.0.get64(index as usize * 8)
    }

    fn swap(&self, index: u32, old: u64, new: u64) -> bool {
        self.0.swap64(index as usize * 8, old, new)
    }

    fn increment(&self, index: u32) {
        self.0.add64(index as usize * 8, 1);
    }

    fn decrement(&self, index: u32) {
        self.0.add64(index as usize * 8, u64::MAX);
    }
}

impl Charges for PinnedMaps {
    fn unsent(&self) -> Vec<(u32, u64)> {
        let waits = |index: u32| self.record_state(index) == RecordState::Waiting as u16;
        self.standing().filter(|(index, _)| waits(*index)).collect()
    }

    fn connected_udp(&self, backends: &BTreeSet<u32>) -> Vec<Connected> {
        let of_them = |word: &u64| backends.contains(&charge::backend_of(*word));
        let connected = |index: u32| self.record_state(index) == RecordState::Connected as u16;
        let netns = |index: u32| {
            self.records.get64(index as usize * size_of::<Record>() + offset_of!(Record, netns))
        };
        self.standing()
            .filter(|(index, word)| of_them(word) && connected(*index))
            .map(|(index, word)| Connected { netns: netns(index), index, word })
            .filter(|found| found.netns != 0)
            .collect()
    }

    fn end_charge(&self, index: u32, word: u64) -> bool {
        let ended = charge::end(&ChargeWords(&self.charges), Charge { index, word });
        if ended {
            self.active.decrement32(charge::backend_of(word) as usize * 4);
        }
        ended
    }
}

const _: () = assert!(offset_of!(Record, state) == offset_of!(Record, port) + 2);
