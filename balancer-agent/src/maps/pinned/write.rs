//! Writes to the maps in the kernel.

use super::*;

/// Words of a backend that say where it is and that it is in use.
const ADDRESS_WORDS: usize = offset_of!(Backend, suspected) / 4;

const _: () = assert!(ADDRESS_WORDS == 5);

impl WriteMaps for PinnedMaps {
    fn put_frontend(&mut self, key: FrontendKey, value: Frontend) -> Result<(), MapsError> {
        match key {
            FrontendKey::V4(key) => self.frontends4.put(transmute!(key), transmute!(value)),
            FrontendKey::V6(key) => self.frontends6.put(transmute!(key), transmute!(value)),
        }
    }

    fn remove_frontend(&mut self, key: FrontendKey) -> Result<(), MapsError> {
        match key {
            FrontendKey::V4(key) => self.frontends4.remove(&transmute!(key)),
            FrontendKey::V6(key) => self.frontends6.remove(&transmute!(key)),
        }
    }

    fn put_name(&mut self, service: u32, name: &ServiceName) -> Result<(), MapsError> {
        let mut bytes: Name = [0; size_of::<ServiceName>()];
        bytes.copy_from_slice(name.as_bytes());
        self.names.put(service, bytes)
    }

    fn remove_name(&mut self, service: u32) -> Result<(), MapsError> {
        self.forget_level(service);
        self.forget_seats(service);
        self.names.remove(&service)
    }

    fn set_row(&mut self, service: u32, row: Row) {
        let generation = Row::generation(self.row_word(service)).wrapping_add(1);
        self.services.set64(service, offset_of!(Service, row), row.pack(generation));
    }

    fn set_settings(&mut self, service: u32, settings: Settings) {
        if self.settings(service).weighs() != settings.weighs() {
            self.forget_level(service);
        }
        let Settings { policy, affinity, slow_start, group, keeps_suspects, stays, outside } =
            settings;
        let kept = if keeps_suspects { KEEPS_SUSPECTS } else { 0 };
        let kept = kept | if stays { STAYS } else { 0 };
        let set = |offset, value| self.services.set32(service, offset, value);
        set(offset_of!(Service, policy), policy as u32 | kept);
        set(offset_of!(Service, affinity), affinity);
        set(offset_of!(Service, slow_start), slow_start);
        set(offset_of!(Service, group), group);
        set(offset_of!(Service, outside), outside.map_or(0, |row| row + 1));
    }

    fn put_range(&mut self, range: RangeEntry) -> Result<(), MapsError> {
        let key: Range = transmute!(range.key);
        self.ranges.insert(&Key::new(range.bits, key), 1, 0).map_err(failed("RANGES", "update"))
    }

    fn remove_range(&mut self, range: RangeEntry) -> Result<(), MapsError> {
        let key: Range = transmute!(range.key);
        let removed = self.ranges.remove(&Key::new(range.bits, key));
        absent_is_fine(removed.map_err(failed("RANGES", "delete")))
    }

    fn put_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError> {
        self.serving.put(transmute!(ServingKey { service, backend }), 1)
    }

    fn remove_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError> {
        self.serving.remove(&transmute!(ServingKey { service, backend }))
    }

    fn set_slot(&mut self, index: u32, slot: Slot) {
        self.slots.set64(index, 0, slot.pack());
    }

    fn put_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8) {
        let entry = Backend { addr, port, protocol, in_use: 1, ..Backend::default() };
        let words: [u64; size_of::<Backend>() / 8] = transmute!(entry);
        self.forgive(backend);
        self.set_active(backend, 0);
        self.set_others(backend, 0);
        self.since.set32(backend, 0, (clock::now().as_nanos() >> TICK_SHIFT) as u32);
        for (word, value) in words.into_iter().enumerate() {
            self.backends.set64(backend, word * 8, value);
        }
    }

    fn restore_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8) {
        let entry = Backend { addr, port, protocol, in_use: 1, ..Backend::default() };
        let words: [u32; size_of::<Backend>() / 4] = transmute!(entry);
        // What follows the address is counted by programs.
        for (word, value) in words.into_iter().take(ADDRESS_WORDS).enumerate() {
            self.backends.set32(backend, word * 4, value);
        }
    }

    fn remove_backend(&mut self, backend: u32) {
        self.forgive(backend);
        for word in 0..size_of::<Backend>() / 8 {
            self.backends.set64(backend, word * 8, 0);
        }
    }

    fn set_opted_out(&mut self, cgroups: &BTreeMap<u64, u32>) -> Result<usize, MapsError> {
        let held: BTreeMap<u64, u32> =
            self.opted_out.all(|cgroup, level| (cgroup, level))?.into_iter().collect();
        let mut written = 0;
        // Whichever write fails, programs look at every level that there is an entry of.
        let all = levels(held.values().chain(cgroups.values()));
        self.set_levels(all);
        for (cgroup, level) in cgroups.iter().filter(|(_, level)| **level <= MAX_LEVEL) {
            if held.get(cgroup) != Some(level) {
                self.opted_out.put(*cgroup, *level)?;
                written += 1;
            }
        }
        for cgroup in held.keys().filter(|cgroup| !cgroups.contains_key(cgroup)) {
            self.opted_out.remove(cgroup)?;
            written += 1;
        }
        self.set_levels(levels(cgroups.values()));
        Ok(written)
    }

    fn set_clients(&mut self, clients: &BTreeMap<u64, Vec<IpAddr>>) -> Result<usize, MapsError> {
        let entry = |(netns, addresses): (&u64, &Vec<IpAddr>)| {
            (*netns, transmute!(convert::client(addresses)))
        };
        self.clients.replace(&clients.iter().map(entry).collect())
    }

    fn set_nodes(&mut self, nodes: &BTreeMap<IpAddr, NodeAddress>) -> Result<usize, MapsError> {
        let entry = |(ip, node): (&IpAddr, &NodeAddress)| {
            (transmute!(convert::address(*ip)), transmute!(*node))
        };
        self.nodes.replace(&nodes.iter().map(entry).collect())
    }

    fn wait_grace_period(&mut self) {
        crate::maps::rcu::synchronize();
    }
}

impl PinnedMaps {
    /// Says which levels programs look at, and leaves alone what stands beside.
    fn set_levels(&self, levels: u32) {
        let at = offset_of!(Control, opted_out_levels);
        loop {
            let held = self.control.get32(at);
            if self.control.swap32(at, held, held & TRACED | levels) {
                return;
            }
        }
    }
}

/// The bit of every level that programs look at.
fn levels<'a>(levels: impl Iterator<Item = &'a u32>) -> u32 {
    levels.filter(|level| **level <= MAX_LEVEL).fold(0, |bits, level| bits | 1 << level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_programs_do_not_look_at_have_no_bit() {
        assert_eq!(levels([3, 1, 3, MAX_LEVEL, MAX_LEVEL + 1, u32::MAX].iter()), 0x800a);
    }
}
