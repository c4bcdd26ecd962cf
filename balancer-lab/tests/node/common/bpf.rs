//! What `bpftool` would do to links and maps, by the same calls.
#![allow(unsafe_code, reason = "bpf(2) has no safe form")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attr, bpf_cmd};
use nix::libc;

/// Opens a pin.
pub fn open(pin: &Path) -> OwnedFd {
    let path = CString::new(pin.as_os_str().as_bytes()).expect("a path");
    // SAFETY: a union of structures of integers, for which all zeroes are valid.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = call(bpf_cmd::BPF_OBJ_GET, &mut attr);
    // SAFETY: the kernel has just given this descriptor to us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `bpftool link detach pinned PIN`.
pub fn detach(pin: &Path) {
    let link = open(pin);
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    call(bpf_cmd::BPF_LINK_DETACH, &mut attr);
}

/// Puts another program behind a link.
pub fn replace(pin: &Path, program: BorrowedFd<'_>) {
    let link = open(pin);
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.link_update.link_fd = link.as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_raw_fd() as u32;
    call(bpf_cmd::BPF_LINK_UPDATE, &mut attr);
}

/// `bpftool map freeze pinned PIN`.
pub fn freeze(pin: &Path) {
    let map = open(pin);
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    call(bpf_cmd::BPF_MAP_FREEZE, &mut attr);
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> i32 {
    let size = size_of::<bpf_attr>() as libc::c_uint;
    // SAFETY: `attr` is valid for `size` bytes, and what it points to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_mut(attr), size)
    };
    assert!(result >= 0, "bpf({}): {}", command as u32, io::Error::last_os_error());
    result as i32
}
