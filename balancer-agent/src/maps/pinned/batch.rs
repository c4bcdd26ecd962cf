//! Many entries of a map with one call of bpf(2), which aya has no form of.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use aya_obj::generated::{bpf_attr, bpf_cmd};

/// What one call has read of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    /// How many entries.
    pub(super) count: usize,
    /// Where the next call goes on; none at the end.
    pub(super) next: Option<u32>,
}

/// Reads entries of a hash map, those of a bucket together: what is added or removed meanwhile
/// neither hides nor repeats another. `ENOSPC` where a bucket holds more than fits.
/// `BPF_MAP_LOOKUP_BATCH`, Linux 5.6.
///
/// # Safety
///
/// `K` and `V` have the sizes of the keys and values of the map, and any bytes are values of them.
pub(super) unsafe fn lookup<K, V>(
    map: impl AsFd,
    from: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Batch> {
    let mut next = 0_u32;
    // SAFETY: a union of structures of integers, for which all zeroes are valid.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.batch.in_batch = from.as_ref().map_or(0, |from| std::ptr::from_ref(from) as u64);
    attr.batch.out_batch = std::ptr::from_mut(&mut next) as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = keys.len().min(values.len()) as u32;
    attr.batch.map_fd = map.as_fd().as_raw_fd() as u32;
    let size = size_of::<bpf_attr>() as libc::c_uint;
    let command = bpf_cmd::BPF_MAP_LOOKUP_BATCH as libc::c_int;
    // SAFETY: `attr` is valid for `size` bytes; keys and values have room for `count` entries of the
    // sizes that the caller vouches for, and outlive the call as the two cursors do.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size) };
    let error = io::Error::last_os_error();
    // SAFETY: the member that was written, and that the kernel has updated.
    let count = unsafe { attr.batch.count } as usize;
    match result {
        0.. => Ok(Batch { count, next: Some(next) }),
        // The end, also of a map that is empty.
        _ if error.kind() == io::ErrorKind::NotFound => Ok(Batch { count, next: None }),
        _ => Err(error),
    }
}
