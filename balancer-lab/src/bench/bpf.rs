//! Programs that do nothing: what the kernel itself takes to run one, and to take its time.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_info, bpf_prog_type};
use nix::libc;

use crate::error::{Attempt, Result, on};

/// `return 1`, which lets every call go on: `mov64 r0, 1`, `exit`.
const PROCEED: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// A program that does nothing, attached as long as this lives.
#[derive(Debug)]
pub(super) struct Empty {
    pub(super) id: u32,
    _link: OwnedFd,
}

impl Empty {
    /// Attaches one to a cgroup, where another program of the same type is measured.
    pub(super) fn attach(
        cgroup: &Path,
        kind: bpf_prog_type,
        attach: bpf_attach_type,
    ) -> Result<Self> {
        let directory = File::open(cgroup).attempt(on("open", cgroup))?;
        let program = load(kind, attach).attempt("load an empty eBPF program")?;
        let id = id(&program).attempt("identify an empty eBPF program")?;
        let link = link(&program, &directory, attach)
            .attempt(on("attach an empty eBPF program to", cgroup))?;
        Ok(Self { id, _link: link })
    }
}

fn load(kind: bpf_prog_type, attach: bpf_attach_type) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_3.prog_type = kind as u32;
    attr.__bindgen_anon_3.expected_attach_type = attach as u32;
    attr.__bindgen_anon_3.insns = PROCEED.as_ptr() as u64;
    attr.__bindgen_anon_3.insn_cnt = PROCEED.len() as u32;
    attr.__bindgen_anon_3.license = c"GPL".as_ptr() as u64;
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// `BPF_LINK_CREATE`, Linux 5.7.
fn link(program: impl AsFd, cgroup: impl AsFd, attach: bpf_attach_type) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_fd = cgroup.as_fd().as_raw_fd() as u32;
    attr.link_create.attach_type = attach as u32;
    descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

#[allow(unsafe_code, reason = "the kernel's structure has no safe constructor")]
fn id(program: impl AsFd) -> io::Result<u32> {
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = zeroed();
    attr.info.bpf_fd = program.as_fd().as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    attr.info.info = std::ptr::from_mut(&mut info) as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.id)
}

#[allow(unsafe_code, reason = "the kernel's structure has no safe constructor")]
fn zeroed() -> bpf_attr {
    // SAFETY: a union of structures of integers, for which all zeroes are valid.
    unsafe { std::mem::zeroed() }
}

#[allow(unsafe_code, reason = "the kernel gives descriptors as numbers")]
fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[allow(unsafe_code, reason = "there is no safe form of bpf(2)")]
fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    let size = size_of::<bpf_attr>() as libc::c_uint;
    let attr = std::ptr::from_mut(attr);
    // SAFETY: `attr` is valid for `size` bytes, and what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
