//! What the maps in the kernel hold.

use super::*;

impl ReadMaps for PinnedMaps {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn services(&self) -> u32 {
        self.services.count()
    }

    fn frontends(&self) -> Result<Vec<(FrontendKey, Frontend)>, MapsError> {
        let mut frontends = self
            .frontends4
            .all(|key, value| (FrontendKey::V4(transmute!(key)), transmute!(value)))?;
        let ipv6 = |key, value| (FrontendKey::V6(transmute!(key)), transmute!(value));
        frontends.extend(self.frontends6.all(ipv6)?);
        Ok(frontends)
    }

    fn names(&self) -> Result<Vec<(u32, ServiceName)>, MapsError> {
        self.names.all(|id, name| {
            (id, ServiceName::read_from_bytes(&name).unwrap_or_else(|_| ServiceName::new_zeroed()))
        })
    }

    fn frontend(&self, key: FrontendKey) -> Result<Option<Frontend>, MapsError> {
        let value = match key {
            FrontendKey::V4(key) => self.frontends4.get(&transmute!(key))?,
            FrontendKey::V6(key) => self.frontends6.get(&transmute!(key))?,
        };
        Ok(value.map(|value| transmute!(value)))
    }

    fn name(&self, service: u32) -> Result<Option<ServiceName>, MapsError> {
        let name = self.names.get(&service)?;
        Ok(name.and_then(|name| ServiceName::read_from_bytes(&name).ok()))
    }

    fn gauges(&self) -> Result<Vec<Gauge>, MapsError> {
        let gauges = [
            self.clients.gauge(),
            self.frontends4.gauge(),
            self.frontends6.gauge(),
            self.names.gauge(),
            self.nodes.gauge(),
            self.opted_out.gauge(),
            self.serving.gauge(),
        ];
        gauges.into_iter().collect()
    }

    fn row_word(&self, service: u32) -> u64 {
        self.services.get64(service, offset_of!(Service, row))
    }

    fn settings(&self, service: u32) -> Settings {
        let word = |offset| self.services.get32(service, offset);
        let policy = word(offset_of!(Service, policy));
        Settings {
            // A number that is no policy is the default one for programs, too.
            policy: Policy::from_raw(policy as u8).unwrap_or_default(),
            affinity: word(offset_of!(Service, affinity)),
            slow_start: word(offset_of!(Service, slow_start)),
            group: word(offset_of!(Service, group)),
            keeps_suspects: policy & KEEPS_SUSPECTS != 0,
            stays: policy & STAYS != 0,
            outside: word(offset_of!(Service, outside)).checked_sub(1),
        }
    }

    fn ranges(&self) -> Result<Vec<RangeEntry>, MapsError> {
        let mut ranges = Vec::new();
        for key in self.ranges.keys() {
            let key = key.map_err(failed("RANGES", "read"))?;
            ranges.push(RangeEntry { bits: key.prefix_len(), key: transmute!(key.data()) });
        }
        Ok(ranges)
    }

    fn serving(&self) -> Result<Vec<(u32, u32)>, MapsError> {
        self.serving.all(|key, _| {
            let key: ServingKey = transmute!(key);
            (key.service, key.backend)
        })
    }

    fn slot(&self, index: u32) -> Slot {
        Slot::unpack(self.slots.get64(index, 0))
    }

    fn backend(&self, backend: u32) -> Backend {
        let words: [u64; size_of::<Backend>() / 8] =
            std::array::from_fn(|word| self.backends.get64(backend, word * 8));
        transmute!(words)
    }

    fn active(&self, backend: u32) -> u32 {
        suspect::count(self.active.get32(backend, ACTIVE))
    }

    /// One walk over the words of the map.
    fn changed_active(&self, seen: &mut [u32]) -> Vec<u32> {
        let mut changed = Vec::new();
        let words = self.active.words(seen.len());
        for ((id, word), seen) in (0..).zip(words).zip(seen) {
            let active = suspect::count(word as u32);
            if *seen != active {
                *seen = active;
                changed.push(id);
            }
        }
        changed
    }

    fn is_suspect(&self, backend: u32) -> bool {
        suspect::is_suspect(self.active.get32(backend, ACTIVE))
    }

    fn charges(&self) -> u32 {
        WORDS
    }

    fn charge(&self, index: u32) -> u64 {
        self.charges.get64(index as usize * 8)
    }

    fn record_service(&self, index: u32) -> u32 {
        self.records.get32(charge::record_of(index), offset_of!(Record, service))
    }

    fn services_named(&self) -> BTreeSet<u32> {
        self.standing().map(|(index, _)| self.record_service(index)).collect()
    }

    fn charged(&self) -> BTreeSet<(u32, u32)> {
        let pair = |(index, word)| (self.record_service(index), charge::backend_of(word));
        self.standing().map(pair).collect()
    }

    fn lifetimes(&self) -> Result<[u64; LIFETIME_WORDS], MapsError> {
        let mut words = [0; LIFETIME_WORDS];
        for (index, word) in (0..).zip(&mut words) {
            let values = self.lifetimes.get(&index, 0).map_err(failed("LIFETIMES", "read"))?;
            *word = values.iter().sum();
        }
        Ok(words)
    }

    fn verdict(&self, verdict: Verdict) -> Result<u64, MapsError> {
        let values =
            self.verdicts.get(&verdict.counter(), 0).map_err(failed("VERDICTS", "read"))?;
        Ok(values.iter().sum())
    }
}
