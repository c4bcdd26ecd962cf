//! The maps in memory: what the plan and its executor are tested against. Can be told to fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use balancer_common::{
    charge,
    layout::{
        Backend, Frontend, LIFETIME_WORDS, Level, NodeAddress, OutsideFlow, OutsideKey, PAD_ACTIVE,
        PAD_BACKEND, Pin, RangeKey, Row, ServiceName, Slot,
    },
    suspect,
    verdict::Verdict,
};

use zerocopy::transmute;

use super::{
    Charges, ClusterCounts, Connected, FrontendKey, Gauge, KeepSeats, Limits, MapsError,
    OutsideCharges, RangeEntry, ReadChoice, ReadMaps, Settings, WriteMaps,
};

/// Maps in memory.
#[derive(Debug)]
pub struct InMemoryMaps {
    limits: Limits,
    frontends: BTreeMap<FrontendKey, Frontend>,
    /// The Service port of each open connection.
    pub connections: Vec<u32>,
    /// Connected sockets of UDP.
    pub connected: Vec<Connected>,
    names: BTreeMap<u32, ServiceName>,
    /// Rows, packed, with their generation.
    rows: Vec<u64>,
    settings: Vec<Settings>,
    ranges: BTreeMap<Node, RangeEntry>,
    serving: BTreeSet<(u32, u32)>,
    opted_out: BTreeMap<u64, u32>,
    clients: BTreeMap<u64, Vec<IpAddr>>,
    nodes: BTreeMap<IpAddr, NodeAddress>,
    slots: Vec<Slot>,
    backends: Vec<Backend>,
    active: Vec<u32>,
    others: Vec<AtomicU32>,
    levels: Mutex<BTreeMap<u32, Level>>,
    /// What round-robin counts, by Service port.
    pub cursors: BTreeMap<u32, u32>,
    /// Backends of clients, by network namespace and group.
    pub pins: BTreeMap<(u64, u32), Pin>,
    seats: Mutex<BTreeMap<(u32, u32), u32>>,
    /// Connections from outside, in the parts that they are read in.
    pub outside: Vec<Vec<(OutsideKey, OutsideFlow)>>,
    /// What [`ClusterCounts::now_ms`] says.
    pub now_ms: u32,
    /// Every write, as text, in order.
    pub log: Vec<String>,
    /// Writes that can fail do while this is true.
    pub broken: bool,
    /// Writes to these maps fail, and what is told of them says why.
    pub frozen: BTreeSet<&'static str>,
    /// How many more writes that can fail succeed before one fails; none where none does.
    pub fails_in: Option<usize>,
    /// The same of reads.
    reads_fail_in: Mutex<Option<usize>>,
}

impl InMemoryMaps {
    /// Empty maps.
    pub fn new(limits: Limits) -> Self {
        let mut active = vec![0; limits.backends as usize];
        active[PAD_BACKEND as usize] = PAD_ACTIVE;
        Self {
            limits,
            frontends: BTreeMap::new(),
            connections: Vec::new(),
            connected: Vec::new(),
            names: BTreeMap::new(),
            rows: vec![0; limits.services as usize],
            settings: vec![Settings::default(); limits.services as usize],
            ranges: BTreeMap::new(),
            serving: BTreeSet::new(),
            opted_out: BTreeMap::new(),
            clients: BTreeMap::new(),
            nodes: BTreeMap::new(),
            slots: vec![Slot::PAD; limits.slots as usize],
            backends: vec![Backend::default(); limits.backends as usize],
            active,
            others: (0..limits.backends).map(|_| AtomicU32::new(0)).collect(),
            levels: Mutex::default(),
            cursors: BTreeMap::new(),
            pins: BTreeMap::new(),
            seats: Mutex::default(),
            outside: Vec::new(),
            now_ms: 1,
            log: Vec::new(),
            broken: false,
            frozen: BTreeSet::new(),
            fails_in: None,
            reads_fail_in: Mutex::default(),
        }
    }

    /// Sets the number of open connections of a backend.
    pub fn set_active(&mut self, backend: u32, active: u32) {
        self.active[backend as usize] = active;
    }

    /// Makes a backend suspect that may be tried at a time of CLOCK_MONOTONIC.
    pub fn suspect(&mut self, backend: u32, until_ns: u64) {
        self.active[backend as usize] |= suspect::SUSPECT;
        self.backends[backend as usize].suspect_until = until_ns;
    }

    /// After how many more reads that can fail one does.
    pub fn reads_fail_in(&self, reads: usize) {
        *self.reads_left() = Some(reads);
    }

    /// True if no read is to fail, or the one that was to has failed.
    pub fn all_reads_succeed(&self) -> bool {
        self.reads_left().is_none()
    }

    fn reads_left(&self) -> MutexGuard<'_, Option<usize>> {
        self.reads_fail_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_read(&self, map: &'static str) -> Result<(), MapsError> {
        let mut left = self.reads_left();
        let fails = *left == Some(0);
        *left = left.and_then(|left| left.checked_sub(1));
        if fails {
            let source = io::Error::from_raw_os_error(libc::EPERM);
            return Err(MapsError::Call { map, operation: "read", source });
        }
        Ok(())
    }

    fn levels(&self) -> MutexGuard<'_, BTreeMap<u32, Level>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<(u32, u32), u32>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&mut self, map: &'static str, full: bool) -> Result<(), MapsError> {
        let fails = self.fails_in == Some(0);
        self.fails_in = self.fails_in.and_then(|left| left.checked_sub(1));
        if self.broken || full || fails || self.frozen.contains(map) {
            let source = io::Error::from_raw_os_error(libc::E2BIG);
            return Err(MapsError::Call { map, operation: "update", source });
        }
        Ok(())
    }
}

/// What a trie tells entries by: the length of the prefix, and the key without what lies behind it.
type Node = (u32, [u8; size_of::<RangeKey>()]);

fn node(RangeEntry { bits, key }: RangeEntry) -> Node {
    let mut bytes: [u8; size_of::<RangeKey>()] = transmute!(key);
    for (nth, byte) in (0..).zip(&mut bytes) {
        let kept = bits.saturating_sub(nth * 8).min(8);
        *byte &= !(0xff_u16 >> kept) as u8;
    }
    (bits, bytes)
}

/// Brings a map to what is wanted, and says how many entries differed.
fn replace<K: Clone + Ord, V: Clone + PartialEq>(
    held: &mut BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> usize {
    let missing = wanted.iter().filter(|(key, value)| held.get(key) != Some(value)).count();
    let gone = held.keys().filter(|key| !wanted.contains_key(key)).count();
    held.clone_from(wanted);
    missing + gone
}

impl KeepSeats for InMemoryMaps {
    fn add_seats(&self, service: u32, backend: u32, count: u32) -> bool {
        *self.kept().entry((service, backend)).or_default() += count;
        true
    }

    fn take_back_seats(&self, service: u32, backend: u32, count: u32) -> u32 {
        let mut kept = self.kept();
        let held = kept.get(&(service, backend)).copied().unwrap_or_default();
        let left = held.saturating_sub(count);
        kept.insert((service, backend), left);
        held - left
    }

    fn seats(&self, service: u32) -> BTreeMap<u32, u32> {
        let kept = self.kept();
        let of = kept.range((service, 0)..=(service, u32::MAX)).filter(|(_, count)| **count > 0);
        of.map(|((_, backend), count)| (*backend, *count)).collect()
    }

    fn forget_all_seats(&self) {
        self.kept().clear();
    }
}

impl ClusterCounts for InMemoryMaps {
    fn set_others(&self, backend: u32, connections: u32) {
        self.others[backend as usize].store(connections, SeqCst);
    }

    fn others(&self, backend: u32) -> u32 {
        self.others[backend as usize].load(SeqCst)
    }

    fn set_level(&self, service: u32, level: Level) {
        self.levels().insert(service, level);
    }

    fn level(&self, service: u32) -> Option<Level> {
        self.levels().get(&service).copied()
    }

    fn now_ms(&self) -> u32 {
        self.now_ms
    }
}

impl ReadMaps for InMemoryMaps {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn services(&self) -> u32 {
        self.rows.len() as u32
    }

    fn frontends(&self) -> Result<Vec<(FrontendKey, Frontend)>, MapsError> {
        self.check_read("FRONTENDS4")?;
        Ok(self.frontends.iter().map(|(key, frontend)| (*key, *frontend)).collect())
    }

    fn names(&self) -> Result<Vec<(u32, ServiceName)>, MapsError> {
        self.check_read("NAMES")?;
        Ok(self.names.iter().map(|(id, name)| (*id, *name)).collect())
    }

    fn frontend(&self, key: FrontendKey) -> Result<Option<Frontend>, MapsError> {
        self.check_read(key.map())?;
        Ok(self.frontends.get(&key).copied())
    }

    fn name(&self, service: u32) -> Result<Option<ServiceName>, MapsError> {
        self.check_read("NAMES")?;
        Ok(self.names.get(&service).copied())
    }

    fn gauges(&self) -> Result<Vec<Gauge>, MapsError> {
        self.check_read("CLIENTS")?;
        let of_family = |family| self.frontends.keys().filter(|key| key.map() == family).count();
        let entries = [
            ("CLIENTS", self.clients.len()),
            ("FRONTENDS4", of_family("FRONTENDS4")),
            ("FRONTENDS6", of_family("FRONTENDS6")),
            ("NAMES", self.names.len()),
            ("NODES", self.nodes.len()),
            ("OPTED_OUT", self.opted_out.len()),
            ("SERVING", self.serving.len()),
        ];
        let gauge = |(map, entries)| Gauge {
            map,
            bytes: entries as u64,
            frozen: self.frozen.contains(map),
        };
        Ok(entries.into_iter().map(gauge).collect())
    }

    fn row_word(&self, service: u32) -> u64 {
        self.rows.get(service as usize).copied().unwrap_or_default()
    }

    fn settings(&self, service: u32) -> Settings {
        self.settings.get(service as usize).copied().unwrap_or_default()
    }

    fn ranges(&self) -> Result<Vec<RangeEntry>, MapsError> {
        self.check_read("RANGES")?;
        Ok(self.ranges.values().copied().collect())
    }

    fn serving(&self) -> Result<Vec<(u32, u32)>, MapsError> {
        self.check_read("SERVING")?;
        Ok(self.serving.iter().copied().collect())
    }

    fn slot(&self, index: u32) -> Slot {
        self.slots.get(index as usize).copied().unwrap_or(Slot::unpack(0))
    }

    fn backend(&self, backend: u32) -> Backend {
        self.backends.get(backend as usize).copied().unwrap_or_default()
    }

    fn active(&self, backend: u32) -> u32 {
        suspect::count(self.active.get(backend as usize).copied().unwrap_or_default())
    }

    fn is_suspect(&self, backend: u32) -> bool {
        suspect::is_suspect(self.active.get(backend as usize).copied().unwrap_or_default())
    }

    fn charges(&self) -> u32 {
        self.connections.len() as u32
    }

    fn charge(&self, index: u32) -> u64 {
        charge::word(index.into(), 1)
    }

    fn record_service(&self, index: u32) -> u32 {
        self.connections[index as usize]
    }

    fn lifetimes(&self) -> Result<[u64; LIFETIME_WORDS], MapsError> {
        Ok([0; LIFETIME_WORDS])
    }

    fn verdict(&self, _verdict: Verdict) -> Result<u64, MapsError> {
        Ok(0)
    }
}

impl Charges for InMemoryMaps {
    fn unsent(&self) -> Vec<(u32, u64)> {
        Vec::new()
    }

    fn connected_udp(&self) -> Vec<Connected> {
        self.connected.clone()
    }

    fn end_charge(&self, _: u32, _: u64) -> bool {
        false
    }

    fn end_unsent(&self, _: &[(u32, u64)]) -> usize {
        0
    }
}

impl ReadChoice for InMemoryMaps {
    fn since(&self, _: u32) -> u32 {
        0
    }

    fn cursor(&self, service: u32) -> u32 {
        self.cursors.get(&service).copied().unwrap_or_default()
    }

    fn node(&self, address: IpAddr) -> Result<Option<NodeAddress>, MapsError> {
        self.check_read("NODES")?;
        Ok(self.nodes.get(&address).copied())
    }

    fn clients(&self) -> Result<Vec<(u64, Vec<IpAddr>)>, MapsError> {
        self.check_read("CLIENTS")?;
        Ok(self.clients.iter().map(|(netns, addresses)| (*netns, addresses.clone())).collect())
    }

    fn seat(&self, service: u32) -> Option<u32> {
        self.seats(service).into_keys().next()
    }

    fn pin(&self, netns: u64, group: u32) -> Result<Option<Pin>, MapsError> {
        self.check_read("AFFINITY")?;
        Ok(self.pins.get(&(netns, group)).copied())
    }
}

impl OutsideCharges for InMemoryMaps {
    fn outside(&self) -> Result<Vec<(OutsideKey, OutsideFlow)>, MapsError> {
        self.check_read("OUTSIDE")?;
        Ok(self.outside.concat())
    }

    fn read_outside(
        &self,
        from: Option<u32>,
        found: &mut Vec<(OutsideKey, OutsideFlow)>,
    ) -> Result<Option<u32>, MapsError> {
        self.check_read("OUTSIDE")?;
        let part = from.unwrap_or(0);
        found.extend(self.outside.get(part as usize).into_iter().flatten());
        Ok(((part as usize + 1) < self.outside.len()).then_some(part + 1))
    }

    fn end_outside(&mut self, _: &OutsideKey, _: &OutsideFlow) -> Result<bool, MapsError> {
        Ok(false)
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }
}

impl WriteMaps for InMemoryMaps {
    fn put_frontend(&mut self, key: FrontendKey, value: Frontend) -> Result<(), MapsError> {
        let family = self.frontends.keys().filter(|held| held.map() == key.map()).count();
        let full = family >= self.limits.frontends as usize && !self.frontends.contains_key(&key);
        self.check(key.map(), full)?;
        self.log.push(format!("frontend of service {}", value.service));
        self.frontends.insert(key, value);
        Ok(())
    }

    fn remove_frontend(&mut self, key: FrontendKey) -> Result<(), MapsError> {
        self.check(key.map(), false)?;
        if let Some(old) = self.frontends.remove(&key) {
            self.log.push(format!("no frontend of service {}", old.service));
        }
        Ok(())
    }

    fn put_name(&mut self, service: u32, name: &ServiceName) -> Result<(), MapsError> {
        self.check("NAMES", false)?;
        self.log.push(format!("name of service {service}"));
        self.names.insert(service, *name);
        Ok(())
    }

    fn remove_name(&mut self, service: u32) -> Result<(), MapsError> {
        self.check("NAMES", false)?;
        self.log.push(format!("no name of service {service}"));
        self.names.remove(&service);
        self.levels().remove(&service);
        self.kept().retain(|(of, _), _| *of != service);
        Ok(())
    }

    fn set_row(&mut self, service: u32, row: Row) {
        self.log.push(format!("row of service {service}"));
        if let Some(word) = self.rows.get_mut(service as usize) {
            *word = row.pack(Row::generation(*word).wrapping_add(1));
        }
    }

    fn set_settings(&mut self, service: u32, settings: Settings) {
        self.log.push(format!("settings of service {service}"));
        let before = self.settings(service);
        if let Some(held) = self.settings.get_mut(service as usize) {
            *held = settings;
        }
        if before.weighs() != settings.weighs() {
            self.levels().remove(&service);
        }
    }

    fn put_range(&mut self, range: RangeEntry) -> Result<(), MapsError> {
        self.check("RANGES", false)?;
        self.log.push(format!("range of service {}", u32::from_be_bytes(range.key.service)));
        self.ranges.insert(node(range), range);
        Ok(())
    }

    fn remove_range(&mut self, range: RangeEntry) -> Result<(), MapsError> {
        self.check("RANGES", false)?;
        self.log.push(format!("no range of service {}", u32::from_be_bytes(range.key.service)));
        self.ranges.remove(&node(range));
        Ok(())
    }

    fn put_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError> {
        self.check("SERVING", false)?;
        self.log.push(format!("backend {backend} serves service {service}"));
        self.serving.insert((service, backend));
        Ok(())
    }

    fn remove_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError> {
        self.check("SERVING", false)?;
        self.log.push(format!("backend {backend} serves service {service} no more"));
        self.serving.remove(&(service, backend));
        Ok(())
    }

    fn set_slot(&mut self, index: u32, slot: Slot) {
        self.slots[index as usize] = slot;
    }

    fn put_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8) {
        self.log.push(format!("backend {backend}"));
        self.active[backend as usize] = 0;
        self.set_others(backend, 0);
        self.backends[backend as usize] =
            Backend { addr, port, protocol, in_use: 1, ..Backend::default() };
    }

    fn restore_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8) {
        self.log.push(format!("address of backend {backend}"));
        let held = self.backends[backend as usize];
        self.backends[backend as usize] = Backend { addr, port, protocol, in_use: 1, ..held };
    }

    fn remove_backend(&mut self, backend: u32) {
        self.log.push(format!("no backend {backend}"));
        self.backends[backend as usize].in_use = 0;
    }

    fn set_opted_out(&mut self, cgroups: &BTreeMap<u64, u32>) -> Result<usize, MapsError> {
        self.check("OPTED_OUT", false)?;
        self.log.push(format!("{} cgroups opted out", cgroups.len()));
        Ok(replace(&mut self.opted_out, cgroups))
    }

    fn set_clients(&mut self, clients: &BTreeMap<u64, Vec<IpAddr>>) -> Result<usize, MapsError> {
        self.check("CLIENTS", false)?;
        self.log.push(format!("{} clients", clients.len()));
        Ok(replace(&mut self.clients, clients))
    }

    fn set_nodes(&mut self, nodes: &BTreeMap<IpAddr, NodeAddress>) -> Result<usize, MapsError> {
        self.check("NODES", false)?;
        self.log.push(format!("{} addresses of nodes", nodes.len()));
        Ok(replace(&mut self.nodes, nodes))
    }

    fn wait_grace_period(&mut self) {
        self.log.push("grace".into());
    }
}
