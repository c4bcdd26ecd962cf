//! A hash map in the kernel.
#![allow(unsafe_code, reason = "aya has no form of reading many entries")]

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::Pod;
use aya_obj::generated::BPF_NOEXIST;

use super::*;
use crate::bpf;

/// How many entries are read with one call. A bucket that holds more takes a larger one.
const BATCH: usize = 1024;

/// A hash map in the kernel.
pub(super) struct Table<K: Pod, V: Pod> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
    /// The same map, for calls that aya lacks.
    fd: OwnedFd,
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Opens what is pinned under a name, and says how much it holds at most.
    pub(super) fn open(pins: &Pins, name: &'static str) -> Result<(Self, u32), MapsError> {
        let data = data(pins, name)?;
        let max = data.info().map_err(failed(name, "info"))?.max_entries();
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|source| MapsError::Call { map: name, operation: "open", source })?;
        let map = typed(name, HashMap::try_from(Map::HashMap(data)))?;
        Ok((Self { name, map, fd }, max))
    }

    /// An entry.
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, MapsError> {
        match self.map.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(failed(self.name, "read")(error)),
        }
    }

    /// What the kernel tells of the map.
    pub(super) fn gauge(&self) -> Result<Gauge, MapsError> {
        let path = format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd());
        let text = fs::read_to_string(path).map_err(|source| MapsError::Call {
            map: self.name,
            operation: "read what is known of it",
            source,
        })?;
        Ok(gauge(self.name, &text))
    }

    /// Adds or replaces an entry.
    pub(super) fn put(&mut self, key: K, value: V) -> Result<(), MapsError> {
        self.map.insert(key, value, 0).map_err(failed(self.name, "update"))
    }

    /// Removes an entry; one that isn't there is no error.
    pub(super) fn remove(&mut self, key: &K) -> Result<(), MapsError> {
        absent_is_fine(self.map.remove(key).map_err(failed(self.name, "delete")))
    }

    /// Adds an entry; false where there is one already.
    pub(super) fn add(&mut self, key: K, value: V) -> Result<bool, MapsError> {
        match self.map.insert(key, value, BPF_NOEXIST.into()) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed(self.name, "update")(error)),
        }
    }

    /// Removes an entry and gives what it held; none where it isn't there, as for all but one of several
    /// that remove it.
    pub(super) fn take(&mut self, key: &K) -> Result<Option<V>, MapsError> {
        let mut value = zeroed::<V>();
        // SAFETY: aya has compared the sizes of both types with those of the map.
        match unsafe { bpf::lookup_and_delete(&self.fd, key, &mut value) } {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(MapsError::Call { map: self.name, operation: "delete", source }),
        }
    }

    /// Has it hold these entries alone. Says how many were not as they should be.
    pub(super) fn replace(&mut self, wanted: &BTreeMap<K, V>) -> Result<usize, MapsError>
    where
        K: Ord,
        V: PartialEq,
    {
        let held: BTreeMap<K, V> = self.all(|key, value| (key, value))?.into_iter().collect();
        let mut written = 0;
        for (key, value) in wanted.iter().filter(|(key, value)| held.get(key) != Some(value)) {
            self.put(*key, *value)?;
            written += 1;
        }
        for key in held.keys().filter(|key| !wanted.contains_key(key)) {
            self.remove(key)?;
            written += 1;
        }
        Ok(written)
    }

    /// Every entry, in no order.
    pub(super) fn all<T>(&self, convert: impl Fn(K, V) -> T) -> Result<Vec<T>, MapsError> {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            from = self.read(from, &mut found, &convert)?;
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    /// Adds some more entries to those that were found, at most [`BATCH`] where no bucket holds more. Gives
    /// where the next call goes on, none at the end.
    pub(super) fn read<T>(
        &self,
        from: Option<u32>,
        found: &mut Vec<T>,
        convert: impl Fn(K, V) -> T,
    ) -> Result<Option<u32>, MapsError> {
        let mut room = BATCH;
        loop {
            let (mut keys, mut values) = (vec![zeroed::<K>(); room], vec![zeroed::<V>(); room]);
            // SAFETY: aya has compared the sizes of both types with those of the map.
            match unsafe { bpf::lookup_batch(&self.fd, from, &mut keys, &mut values) } {
                Ok(batch) => {
                    let entries = keys.into_iter().zip(values).take(batch.count);
                    found.extend(entries.map(|(key, value)| convert(key, value)));
                    return Ok(batch.next);
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => room *= 2,
                Err(source) => {
                    return Err(MapsError::Call { map: self.name, operation: "read", source });
                }
            }
        }
    }
}

fn gauge(map: &'static str, fdinfo: &str) -> Gauge {
    let field = |name: &str| -> Option<u64> {
        fdinfo.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    Gauge {
        map,
        bytes: field("memlock:").unwrap_or(0),
        frozen: field("frozen:").is_some_and(|frozen| frozen != 0),
    }
}

fn zeroed<T: Pod>() -> T {
    // SAFETY: any bytes are a value of these types, by their trait.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let fdinfo = "pos:\t0\nflags:\t02000002\nmap_type:\t1\nmemlock:\t4096\nfrozen:\t1\n";
        let expected = Gauge { map: "NAMES", bytes: 4096, frozen: true };
        assert_eq!(gauge("NAMES", fdinfo), expected);
        assert!(!gauge("NAMES", "memlock:\t4096\nfrozen:\t0\n").frozen);
    }
}
