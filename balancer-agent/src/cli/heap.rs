//! The heap of this process.
#![allow(unsafe_code, reason = "the C library is told")]

/// Lets all threads share one heap.
///
/// glibc gives each thread one of its own, and none gives another what it has free. The agent's
/// threads allocate one after another rather than at once: sharing costs nothing that can be measured,
/// and saves a tenth of the memory that a large cluster takes. musl has one heap anyway.
pub(super) fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: an option of the allocator, which any thread may set at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
