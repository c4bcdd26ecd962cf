//! Writes to the maps in the kernel.

use super::*;

/// An entry that isn't there can't be removed, which is fine.
fn absent_is_fine(result: Result<(), MapsError>) -> Result<(), MapsError> {
    match result {
        Err(MapsError::Call { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {
            Ok(())
        }
        other => other,
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
        let Settings { policy, affinity, slow_start, group, keeps_suspects } = settings;
        self.services.set32(at + offset_of!(Service, policy), policy as u32);
        self.services.set32(at + offset_of!(Service, affinity), affinity);
        self.services.set32(at + offset_of!(Service, slow_start), slow_start);
        self.services.set32(at + offset_of!(Service, group), group);
        let flags = if keeps_suspects { KEEPS_SUSPECTS } else { 0 };
        self.services.set32(at + offset_of!(Service, flags), flags);
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

    fn put_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError> {
        let key: Serving = transmute!(ServingKey { service, backend });
        self.serving.insert(key, 1, 0).map_err(failed("SERVING", "update"))
    }

    fn remove_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError> {
        let key: Serving = transmute!(ServingKey { service, backend });
        absent_is_fine(self.serving.remove(&key).map_err(failed("SERVING", "delete")))
    }

    fn set_slot(&mut self, index: u32, slot: Slot) {
        self.slots.set64(index as usize * 8, slot.pack());
    }

    fn put_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8) {
        let entry = Backend { addr, port, protocol, in_use: 1, ..Backend::default() };
        let words: [u64; size_of::<Backend>() / 8] = transmute!(entry);
        self.forgive(backend);
        self.set_active(backend, 0);
        self.since.set32(backend as usize * 4, now());
        let at = backend as usize * size_of::<Backend>();
        for (word, value) in words.into_iter().enumerate() {
            self.backends.set64(at + word * 8, value);
        }
    }

    fn remove_backend(&mut self, backend: u32) {
        self.forgive(backend);
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
