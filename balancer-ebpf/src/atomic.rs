//! Read-modify-write on map memory.
//!
//! `core::sync::atomic` offers none on the BPF target; the intrinsics do. `SeqCst` throughout:
//! with `Relaxed`, LLVM emits the form that doesn't return the old value. Linux 5.12 and newer
//! execute them.

use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg, atomic_xadd, atomic_xsub};

/// Adds a number.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn add(word: *mut u32, number: u32) {
    // SAFETY: the caller's contract.
    unsafe { atomic_xadd::<u32, u32, { SeqCst }>(word, number) };
}

/// Adds a number to a word of 8 bytes.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn add64(word: *mut u64, number: u64) {
    // SAFETY: the caller's contract.
    unsafe { atomic_xadd::<u64, u64, { SeqCst }>(word, number) };
}

/// Subtracts a number.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn sub(word: *mut u32, number: u32) {
    // SAFETY: the caller's contract.
    unsafe { atomic_xsub::<u32, u32, { SeqCst }>(word, number) };
}

/// Reads a word that other processors change.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn load<T: Copy>(word: *const T) -> T {
    // SAFETY: the caller's contract.
    unsafe { core::ptr::read_volatile(word) }
}

/// Adds 1.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn increment<T: Copy + From<u8>>(word: *mut T) {
    // SAFETY: the caller's contract.
    unsafe { atomic_xadd::<T, T, { SeqCst }>(word, T::from(1)) };
}

/// Adds 1 and gives the value before, wrapping.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn fetch_increment(word: *mut u32) -> u32 {
    // SAFETY: the caller's contract.
    unsafe { atomic_xadd::<u32, u32, { SeqCst }>(word, 1) }
}

/// The same of a word of 8 bytes.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn fetch_increment64(word: *mut u64) -> u64 {
    // SAFETY: the caller's contract.
    unsafe { atomic_xadd::<u64, u64, { SeqCst }>(word, 1) }
}

/// Subtracts 1.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn decrement<T: Copy + From<u8>>(word: *mut T) {
    // SAFETY: the caller's contract.
    unsafe { atomic_xsub::<T, T, { SeqCst }>(word, T::from(1)) };
}

/// Replaces `old` by `new`; false if the word was no longer `old`.
///
/// # Safety
/// `word` points into a map value, aligned.
#[inline(always)]
pub unsafe fn swap<T: Copy>(word: *mut T, old: T, new: T) -> bool {
    // SAFETY: the caller's contract.
    unsafe { atomic_cxchg::<T, { SeqCst }, { SeqCst }>(word, old, new) }.1
}
