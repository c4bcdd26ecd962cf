//! What balancer has counted: the words of its maps, through their pins.
#![allow(unsafe_code, reason = "arrays are mapped into this process")]

use std::{
    num::NonZeroUsize,
    os::fd::AsFd as _,
    path::Path,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use aya::maps::MapData;
use balancer_common::{
    charge::{self, WORDS},
    layout::{Backend, LAYOUT_VERSION, MAX_BACKENDS},
    suspect::count,
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::net::{Ipv6Addr, SocketAddr};

use crate::error::{Attempt, Error, Result, on};

/// A backend: protocol number and address.
pub type BackendId = (u8, SocketAddr);

/// The maps of counting.
#[derive(Debug)]
pub(super) struct Maps {
    charges: Words,
    backends: Words,
    active: Words,
}

impl Maps {
    /// Opens them below the folder of an agent's pins.
    pub(super) fn open(pins: &Path) -> Result<Self> {
        let open = |name: &str, bytes: usize| {
            Words::map(&pins.join(format!("v{LAYOUT_VERSION}/maps/{name}")), bytes)
        };
        Ok(Self {
            charges: open("CHARGES", WORDS as usize * 8)?,
            backends: open("BACKENDS", 0)?,
            active: open("ACTIVE", MAX_BACKENDS as usize * 4)?,
        })
    }

    /// Every backend that is in use, its number, and its open connections.
    pub(super) fn backends(&self) -> impl Iterator<Item = (u32, BackendId, u64)> {
        let number = (self.backends.len * 8 / size_of::<Backend>()) as u32;
        (1..number).filter_map(|id| Some((id, self.backend(id)?, self.active(id))))
    }

    fn backend(&self, id: u32) -> Option<BackendId> {
        let at = id as usize * size_of::<Backend>() / 8;
        let [high, low, rest] = [0, 1, 2].map(|word| self.backends.get(at + word).to_ne_bytes());
        let mut addr = [0; 16];
        addr[..8].copy_from_slice(&high);
        addr[8..].copy_from_slice(&low);
        let [a, b, protocol, in_use, ..] = rest;
        let ip = Ipv6Addr::from(addr).to_canonical();
        (in_use != 0).then(|| (protocol, SocketAddr::new(ip, u16::from_be_bytes([a, b]))))
    }

    fn active(&self, id: u32) -> u64 {
        let pair = self.active.get(id as usize / 2).to_ne_bytes();
        let half = &pair[id as usize % 2 * 4..][..4];
        count(half.try_into().map_or(0, u32::from_ne_bytes)).into()
    }

    /// Every charge: the cookie of a socket and the number of a backend.
    pub(super) fn charges(&self) -> impl Iterator<Item = (u64, u32)> {
        let words = (0..WORDS as usize).map(|index| self.charges.get(index));
        let charges = words.filter(|word| charge::is_charge(*word));
        charges.map(|word| (charge::cookie_of(word), charge::backend_of(word)))
    }
}

/// An array of words, mapped for reading.
#[derive(Debug)]
struct Words {
    memory: NonNull<AtomicU64>,
    len: usize,
}

impl Words {
    /// Maps an array of `bytes`; of 0, all its values.
    fn map(pin: &Path, bytes: usize) -> Result<Self> {
        let failed = |error| Error::Unmet(format!("{}: {error}; is it balancer's?", pin.display()));
        let data = MapData::from_pin(pin).map_err(failed)?;
        let info = data.info().map_err(failed)?;
        let all = info.value_size() as usize * info.max_entries() as usize;
        let bytes = if bytes == 0 { all } else { bytes };
        let Some(length) = NonZeroUsize::new(bytes).filter(|_| bytes <= all) else {
            return Err(Error::Unmet(format!("{} has {all} bytes, not {bytes}", pin.display())));
        };
        let (protection, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        // SAFETY: a new shared mapping at an address of the kernel's choice.
        let memory = unsafe { mmap(None, length, protection, flags, data.fd().as_fd(), 0) };
        Ok(Self { memory: memory.attempt(on("map", pin))?.cast(), len: bytes / 8 })
    }

    fn get(&self, index: usize) -> u64 {
        assert!(index < self.len, "word {index} of {}", self.len);
        // SAFETY: inside the mapping, as just checked, which lives as long as `self`.
        unsafe { self.memory.add(index).as_ref() }.load(SeqCst)
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `map`; no reference into it outlives `self`. There is nothing
        // to do about a failure, which leaves the mapping to the end of the process.
        let _ = unsafe { munmap(self.memory.cast(), self.len * 8) };
    }
}
