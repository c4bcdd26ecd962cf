//! Holds the lock of a socket for as long as it likes, as any program can: it sends from a page whose
//! fault nobody answers.
#![allow(unsafe_code, reason = "userfaultfd, and a page that is not there")]

use std::{
    ffi::c_void,
    io,
    num::NonZeroUsize,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr::NonNull,
    thread,
};

use nix::{
    libc,
    sys::mman::{MapFlags, ProtFlags, mmap_anonymous},
};
use socket2::{Socket, Type};

const PAGE: usize = 4096;
/// UFFD_API and UFFDIO_REGISTER_MODE_MISSING of linux/userfaultfd.h.
const API: u64 = 0xaa;
const MISSING: u64 = 1;

/// `struct uffdio_api`.
#[repr(C)]
#[derive(Default)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
#[derive(Default)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_zeropage`.
#[repr(C)]
#[derive(Default)]
struct ZeroPage {
    start: u64,
    length: u64,
    mode: u64,
    filled: i64,
}

/// UFFDIO_API, UFFDIO_REGISTER and UFFDIO_ZEROPAGE of linux/userfaultfd.h.
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00;
const UFFDIO_ZEROPAGE: libc::Ioctl = 0xc020_aa04;

/// Pages that are not there, until they are let go.
pub struct Pages {
    faults: OwnedFd,
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: nobody reads or writes the pages but the kernel, by their address.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// One for each of so many sockets.
    pub fn new(count: usize) -> io::Result<Self> {
        // SAFETY: the call takes flags alone and gives a new descriptor, or -1.
        let faults = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        if faults < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let faults = unsafe { OwnedFd::from_raw_fd(faults as i32) };
        let length = PAGE * count.max(1);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let size = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the mapping is new and nobody else's.
        let start = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE)? };
        let mut api = Api { api: API, ..Api::default() };
        // SAFETY: `api` is what the request reads and writes, and outlives the call.
        done(unsafe { libc::ioctl(faults.as_raw_fd(), UFFDIO_API, &raw mut api) })?;
        let (from, length) = (start.as_ptr() as u64, length as u64);
        let mut register = Register { start: from, length, mode: MISSING, ioctls: 0 };
        // SAFETY: `register` is what the request reads and writes, and outlives the call.
        done(unsafe { libc::ioctl(faults.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) })?;
        Ok(Self { faults, start, length: length as usize })
    }

    /// Sends one of them over a socket: holds its lock until the pages are let go.
    pub fn send(&'static self, socket: &Socket, index: usize) -> io::Result<()> {
        let descriptor = socket.as_raw_fd();
        // UDP locks its socket only where more is to follow.
        let more = if socket.r#type()? == Type::DGRAM { libc::MSG_MORE } else { 0 };
        thread::spawn(move || {
            let from = self.start.as_ptr().wrapping_byte_add(PAGE * index);
            // SAFETY: the kernel reads one page of the mapping, which is never unmapped.
            unsafe { libc::send(descriptor, from, PAGE, libc::MSG_NOSIGNAL | more) };
        });
        Ok(())
    }

    /// Lets all go: they are zeros.
    pub fn let_go(&self) -> io::Result<()> {
        let (start, length) = (self.start.as_ptr() as u64, self.length as u64);
        let mut zeros = ZeroPage { start, length, mode: 0, filled: 0 };
        // SAFETY: `zeros` is what the request reads and writes, and outlives the call.
        done(unsafe { libc::ioctl(self.faults.as_raw_fd(), UFFDIO_ZEROPAGE, &raw mut zeros) })
    }
}

fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
