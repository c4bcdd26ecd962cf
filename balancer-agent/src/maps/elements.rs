//! The elements of an array map.

use std::marker::PhantomData;

use super::slab::Slab;

/// Elements of type `T` in mapped memory, reached word by word.
///
/// Identifiers come from maps that other tools may write to. Of an element that the map does not have
/// each word is 0, and what is written to it is written nowhere.
#[derive(Debug)]
pub struct Elements<T> {
    slab: Slab,
    len: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Elements<T> {
    /// As many as the memory has room for.
    pub fn new(slab: Slab) -> Self {
        let len = u32::try_from(slab.bytes() / size_of::<T>()).unwrap_or(u32::MAX);
        Self { slab, len, of: PhantomData }
    }

    /// How many there are.
    pub const fn count(&self) -> u32 {
        self.len
    }

    /// Reads the aligned 4-byte word at a byte offset within an element.
    pub fn get32(&self, index: u32, offset: usize) -> u32 {
        self.at(index, offset).map_or(0, |at| self.slab.get32(at))
    }

    /// Reads the aligned 8-byte word at a byte offset within an element.
    pub fn get64(&self, index: u32, offset: usize) -> u64 {
        self.at(index, offset).map_or(0, |at| self.slab.get64(at))
    }

    /// Reads the first elements, which are a word of 8 bytes each: so many, or as many as there are.
    pub fn words(&self, count: usize) -> impl Iterator<Item = u64> {
        const { assert!(size_of::<T>() == 8) };
        self.slab.words(count.min(self.len as usize))
    }

    /// Writes the aligned 4-byte word at a byte offset within an element.
    pub fn set32(&self, index: u32, offset: usize, value: u32) {
        if let Some(at) = self.at(index, offset) {
            self.slab.set32(at, value);
        }
    }

    /// Writes the aligned 8-byte word at a byte offset within an element.
    pub fn set64(&self, index: u32, offset: usize, value: u64) {
        if let Some(at) = self.at(index, offset) {
            self.slab.set64(at, value);
        }
    }

    /// Replaces the aligned 8-byte word at a byte offset within an element; false if it was no longer
    /// `old`.
    pub fn swap64(&self, index: u32, offset: usize, old: u64, new: u64) -> bool {
        self.at(index, offset).is_some_and(|at| self.slab.swap64(at, old, new))
    }

    /// Replaces the aligned 4-byte word at a byte offset within an element; false if it was no longer
    /// `old`.
    pub fn swap32(&self, index: u32, offset: usize, old: u32, new: u32) -> bool {
        self.at(index, offset).is_some_and(|at| self.slab.swap32(at, old, new))
    }

    /// Adds to the aligned 4-byte word at a byte offset within an element, wrapping around.
    pub fn add32(&self, index: u32, offset: usize, value: u32) {
        if let Some(at) = self.at(index, offset) {
            self.slab.add32(at, value);
        }
    }

    fn at(&self, index: u32, offset: usize) -> Option<usize> {
        assert!(offset < size_of::<T>(), "offset {offset} of {} bytes", size_of::<T>());
        (index < self.len).then(|| index as usize * size_of::<T>() + offset)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::OwnedFd};

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    fn elements(len: u32) -> Elements<[u64; 2]> {
        let fd: OwnedFd = memfd_create("elements", MFdFlags::empty()).unwrap();
        let file = File::from(fd);
        let bytes = len as usize * 16;
        file.set_len(bytes as u64).unwrap();
        Elements::new(Slab::map(&file, bytes).unwrap())
    }

    #[test]
    fn each_element_has_words_of_its_own() {
        let elements = elements(3);
        assert_eq!(elements.count(), 3);
        for index in 0..3 {
            elements.set64(index, 0, index.into());
            elements.set32(index, 12, 10 + index);
        }
        elements.add32(1, 12, u32::MAX);
        assert!(elements.swap64(2, 0, 2, 7) && !elements.swap64(2, 0, 2, 8));
        let words = |index| (elements.get64(index, 0), elements.get32(index, 12));
        assert_eq!([0, 1, 2].map(words), [(0, 10), (1, 10), (7, 12)]);
    }

    #[test]
    fn an_element_that_is_not_there_is_0_and_stays_so() {
        let elements = elements(3);
        for index in [3, 1 << 28, u32::MAX] {
            elements.set64(index, 8, 7);
            elements.set32(index, 8, 7);
            elements.add32(index, 8, 7);
            assert!(!elements.swap64(index, 8, 0, 7) && !elements.swap32(index, 8, 0, 7));
            assert_eq!((elements.get64(index, 8), elements.get32(index, 8)), (0, 0));
        }
        assert_eq!([0, 1, 2].map(|index| elements.get64(index, 8)), [0; 3]);
    }
}
