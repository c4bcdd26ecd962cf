//! The words of an agent's array maps, through their pins.
#![allow(unsafe_code, reason = "arrays are mapped into this process")]

use std::{
    num::NonZeroUsize,
    os::fd::AsFd as _,
    path::Path,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
};

use aya::maps::MapData;
use balancer_lab::error::{Attempt, Error, Result, on};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// An array of words, mapped into this process.
#[derive(Debug)]
pub(crate) struct Words {
    memory: NonNull<AtomicU64>,
    len: usize,
}

impl Words {
    /// Maps an array of `bytes`; of 0, all its values.
    pub(crate) fn map(pin: &Path, bytes: usize) -> Result<Self> {
        let failed = |error| Error::Unmet(format!("{}: {error}; is it balancer's?", pin.display()));
        let data = MapData::from_pin(pin).map_err(failed)?;
        let info = data.info().map_err(failed)?;
        let all = info.value_size() as usize * info.max_entries() as usize;
        let bytes = if bytes == 0 { all } else { bytes };
        let Some(length) = NonZeroUsize::new(bytes).filter(|_| bytes <= all) else {
            return Err(Error::Unmet(format!("{} has {all} bytes, not {bytes}", pin.display())));
        };
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new shared mapping at an address of the kernel's choice.
        let memory =
            unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, data.fd().as_fd(), 0) };
        Ok(Self { memory: memory.attempt(on("map", pin))?.cast(), len: bytes / 8 })
    }

    /// How many words there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Reads a word.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.word(index).load(SeqCst)
    }

    /// Writes a word.
    pub(crate) fn set(&self, index: usize, value: u64) {
        self.word(index).store(value, SeqCst);
    }

    /// Writes the half of a word that stands at a byte offset, aligned to 4.
    pub(crate) fn set_half(&self, offset: usize, value: u32) {
        let half = self.word(offset / 8).as_ptr().cast::<u32>();
        // SAFETY: one of the two halves of a word inside the mapping, which lives as long as `self`.
        unsafe { AtomicU32::from_ptr(half.add(offset % 8 / 4)) }.store(value, SeqCst);
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len, "word {index} of {}", self.len);
        // SAFETY: inside the mapping, as just checked, which lives as long as `self`.
        unsafe { self.memory.add(index).as_ref() }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `map`; no reference into it outlives `self`. There is nothing
        // to do about a failure, which leaves the mapping to the end of the process.
        let _ = unsafe { munmap(self.memory.cast(), self.len * 8) };
    }
}
