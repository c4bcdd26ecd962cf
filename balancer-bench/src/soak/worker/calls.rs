//! The system calls that no safe wrapper makes.
#![allow(unsafe_code, reason = "fork, io_uring, and addresses of no family")]

use std::{
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    process,
};

use balancer_lab::error::{Attempt, Error, Result};
use io_uring::{IoUring, opcode, types};
use nix::{
    cmsg_space,
    sys::{
        prctl,
        signal::Signal,
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
    },
    unistd::{ForkResult, Pid, fork, getpid, getppid, pause},
};
use socket2::{SockAddr, Socket};

/// `connect()` by io_uring, waited for.
pub fn connect(ring: &mut IoUring, socket: &Socket, to: &SockAddr) -> io::Result<()> {
    let fd = types::Fd(socket.as_raw_fd());
    let entry = opcode::Connect::new(fd, to.as_ptr().cast(), to.len()).build();
    // SAFETY: the address outlives the operation, whose end is waited for below.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next().ok_or_else(|| io::Error::other("nothing completed"))?;
    match done.result() {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// A child with a copy of every descriptor, which waits to be killed. It dies with this process.
pub fn fork_idle() -> Result<Pid> {
    let parent = getpid();
    // SAFETY: this process has one thread, so that the child may do anything.
    match unsafe { fork() }.attempt("fork")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // The parent may have died before the signal was asked for.
            if prctl::set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != parent {
                process::exit(1);
            }
            loop {
                pause();
            }
        }
    }
}

/// Sends a descriptor into a Unix socket.
pub fn post(pipe: &UnixStream, descriptor: RawFd) -> Result<()> {
    let descriptors = [descriptor];
    let message = [ControlMessage::ScmRights(&descriptors)];
    let data = [io::IoSlice::new(b"x")];
    sendmsg::<()>(pipe.as_raw_fd(), &data, &message, MsgFlags::empty(), None)
        .attempt("send a descriptor")
        .map(drop)
}

/// Takes a descriptor out of a Unix socket.
pub fn fetch(pipe: &UnixStream) -> Result<OwnedFd> {
    let mut byte = [0; 1];
    let mut data = [io::IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(pipe.as_raw_fd(), &mut data, Some(&mut space), flags)
        .attempt("receive a descriptor")?;
    for part in message.cmsgs().attempt("read a message")? {
        if let ControlMessageOwned::ScmRights(descriptors) = part
            && let [descriptor] = descriptors[..]
        {
            // SAFETY: the kernel has just given this descriptor to us alone.
            return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
    Err(Error::Unmet("a descriptor was lost in a Unix socket".into()))
}
