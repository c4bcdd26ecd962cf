//! Pinned links: what is attached, and where.
#![allow(unsafe_code, reason = "a union of the kernel's is read")]

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use super::{KernelError, pin};
use crate::{bpf, maps::pins::Pins};

/// Programs by the name of their link, in the order they are attached in: what ends charges
/// before what makes them, so that none is made that nobody would end.
pub const PROGRAMS: [&str; 10] = [
    "release", "tcp", "getpeer4", "getpeer6", "recvmsg4", "recvmsg6", "connect4", "connect6",
    "sendmsg4", "sendmsg6",
];

/// A pinned link as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Identifier of the attached program.
    pub program: u32,
    /// Identifier of the cgroup, which is the inode of its directory; 0 once it is removed.
    pub cgroup: u64,
}

/// The link of a program; `None` if it is not pinned.
pub fn read(pins: &Pins, program: &str) -> io::Result<Option<Attached>> {
    read_pin(&pins.link(program))
}

pub(super) fn read_pin(path: &Path) -> io::Result<Option<Attached>> {
    let link = match bpf::open(path) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    read_fd(&link).map(Some)
}

/// What the kernel says of a link.
pub(super) fn read_fd(link: impl AsFd) -> io::Result<Attached> {
    let info = bpf::link_info(link)?;
    // SAFETY: every link of ours is of type cgroup, whose member of the union this is; as integers,
    // the bytes are valid in any case.
    let cgroup = unsafe { info.__bindgen_anon_1.cgroup.cgroup_id };
    Ok(Attached { program: info.prog_id, cgroup })
}

/// Detaches a pinned link and removes its pin; false if there was none.
pub(super) fn remove(pin: PathBuf) -> Result<bool, KernelError> {
    let detached = match bpf::open(&pin) {
        Ok(link) => bpf::detach_link(&link),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => Err(error),
    };
    detached.map_err(|source| KernelError::Pin { path: pin.clone(), source })?;
    pin::remove(pin)
}

/// The kernel's hash of a program's instructions, in hexadecimal as bpftool shows it.
pub fn tag(program: u32) -> io::Result<String> {
    Ok(bpf::Tag(bpf::program_info(program)?.tag).to_string())
}
