//! The memory of an array map, mapped into this process.
//!
//! Programs change single words of it at any time, and so does the agent; every access is atomic.
#![allow(unsafe_code, reason = "arrays are mapped into this process")]

use std::{
    io,
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The mapped memory.
#[derive(Debug)]
pub struct Slab {
    memory: NonNull<libc::c_void>,
    bytes: usize,
}

// SAFETY: the memory is only reached through atomics, from whichever thread.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    /// Maps the first `bytes` of an array map made with `BPF_F_MMAPABLE` (Linux 5.5).
    pub fn map(map: impl AsFd, bytes: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new shared mapping at an address of the kernel's choice.
        let memory = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self { memory, bytes })
    }

    /// How many bytes there are.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the aligned 4-byte word at a byte offset.
    pub fn get32(&self, offset: usize) -> u32 {
        self.word32(offset).load(SeqCst)
    }

    /// Reads the aligned 8-byte word at a byte offset.
    pub fn get64(&self, offset: usize) -> u64 {
        self.word64(offset).load(SeqCst)
    }

    /// Reads the first `count` 8-byte words, each at the moment when it is asked for.
    pub fn words(&self, count: usize) -> impl Iterator<Item = u64> {
        assert!(count * 8 <= self.bytes, "{count} words of {} bytes", self.bytes);
        // SAFETY: so many are inside the mapping, which lives as long as `self`, as was just
        // checked, and aligned, as the mapping is; whoever else changes them does so by atomics.
        let words =
            unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU64>(), count) };
        words.iter().map(|word| word.load(SeqCst))
    }

    /// Writes the aligned 4-byte word at a byte offset.
    pub fn set32(&self, offset: usize, value: u32) {
        self.word32(offset).store(value, SeqCst);
    }

    /// Writes the aligned 8-byte word at a byte offset.
    pub fn set64(&self, offset: usize, value: u64) {
        self.word64(offset).store(value, SeqCst);
    }

    /// Replaces the aligned 8-byte word at a byte offset; false if it was no longer `old`.
    pub fn swap64(&self, offset: usize, old: u64, new: u64) -> bool {
        self.word64(offset).compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }

    /// Adds to the aligned 8-byte word at a byte offset, wrapping around.
    pub fn add64(&self, offset: usize, value: u64) {
        self.word64(offset).fetch_add(value, SeqCst);
    }

    /// Replaces the aligned 4-byte word at a byte offset; false if it was no longer `old`.
    pub fn swap32(&self, offset: usize, old: u32, new: u32) -> bool {
        self.word32(offset).compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }

    /// Adds to the aligned 4-byte word at a byte offset, wrapping around.
    pub fn add32(&self, offset: usize, value: u32) {
        self.word32(offset).fetch_add(value, SeqCst);
    }

    fn word32(&self, offset: usize) -> &AtomicU32 {
        self.check(offset, 4);
        // SAFETY: inside the mapping and aligned, as just checked; lives as long as `self`.
        unsafe { AtomicU32::from_ptr(self.memory.as_ptr().byte_add(offset).cast()) }
    }

    fn word64(&self, offset: usize) -> &AtomicU64 {
        self.check(offset, 8);
        // SAFETY: inside the mapping and aligned, as just checked; lives as long as `self`.
        unsafe { AtomicU64::from_ptr(self.memory.as_ptr().byte_add(offset).cast()) }
    }

    fn check(&self, offset: usize, size: usize) {
        assert!(
            offset.is_multiple_of(size) && offset + size <= self.bytes,
            "offset {offset} of {} bytes",
            self.bytes
        );
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `map`; no reference into it outlives `self`. There is nothing
        // to do about a failure, which leaves the mapping to the end of the process.
        let _ = unsafe { munmap(self.memory, self.bytes) };
    }
}
