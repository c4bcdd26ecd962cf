//! The calls of bpf(2) that aya has no safe form of.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_link_info, bpf_map_info, bpf_prog_info};

/// Opens a pinned object. `BPF_OBJ_GET`, Linux 4.4.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = call(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins an object. `BPF_OBJ_PIN`, Linux 4.4.
pub fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_fd().as_raw_fd() as u32;
    call(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Replaces the program behind a link in one step. `BPF_LINK_UPDATE`, Linux 5.7.
pub fn update_link(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_update.link_fd = link.as_fd().as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_fd().as_raw_fd() as u32;
    call(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Detaches the program of a link at once. `BPF_LINK_DETACH`, Linux 5.9. Removing the last pin does
/// it too, but some time later, from a kernel thread.
pub fn detach_link(link: impl AsFd) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = link.as_fd().as_raw_fd() as u32;
    call(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// What the kernel knows of a link. `BPF_OBJ_GET_INFO_BY_FD`, Linux 5.8.
pub fn link_info(link: impl AsFd) -> io::Result<bpf_link_info> {
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    get_info(link, &mut info)?;
    Ok(info)
}

/// The kernel's identifier of a link.
pub fn link_id(link: impl AsFd) -> io::Result<u32> {
    Ok(link_info(link)?.id)
}

/// The kernel's identifier of a program. `BPF_OBJ_GET_INFO_BY_FD` of programs, Linux 4.13.
pub fn program_id(program: impl AsFd) -> io::Result<u32> {
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    get_info(program, &mut info)?;
    Ok(info.id)
}

/// The kernel's identifier of a map. `BPF_OBJ_GET_INFO_BY_FD` of maps, Linux 4.13.
pub fn map_id(map: impl AsFd) -> io::Result<u32> {
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_map_info = unsafe { std::mem::zeroed() };
    get_info(map, &mut info)?;
    Ok(info.id)
}

/// The kernel's hash of a program's instructions. `BPF_PROG_GET_FD_BY_ID`, Linux 4.13.
pub fn program_tag(id: u32) -> io::Result<[u8; 8]> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    let fd = call(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    get_info(&program, &mut info)?;
    Ok(info.tag)
}

fn get_info<T>(object: impl AsFd, info: &mut T) -> io::Result<()> {
    let mut attr = zeroed();
    attr.info.bpf_fd = object.as_fd().as_raw_fd() as u32;
    attr.info.info_len = size_of::<T>() as u32;
    attr.info.info = std::ptr::from_mut(info) as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of structures of integers, for which all zeroes are valid.
    unsafe { std::mem::zeroed() }
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    let size = size_of::<bpf_attr>() as libc::c_uint;
    let attr = std::ptr::from_mut(attr);
    // SAFETY: `attr` is valid for `size` bytes, and what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
