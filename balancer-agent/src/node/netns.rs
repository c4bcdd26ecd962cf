//! Network namespaces by their cookies: numbers that the kernel gives out once and never again, and
//! that programs see of every socket (Linux 5.14).
#![allow(unsafe_code, reason = "no safe wrapper asks for SO_NETNS_COOKIE")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// The cookie of this thread's network namespace.
pub fn own() -> io::Result<u64> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    cookie(&socket)
}

/// The cookie of each namespace, given as its file in `/proc/PID/ns`.
pub fn cookies(namespaces: Vec<File>) -> io::Result<Vec<io::Result<u64>>> {
    if namespaces.is_empty() {
        return Ok(Vec::new());
    }
    // A thread of its own: it ends in another namespace than it began.
    let enter = move || -> Vec<_> { namespaces.iter().map(of).collect() };
    let thread = thread::Builder::new().name("netns".to_owned()).spawn(enter)?;
    thread.join().map_err(|_| io::Error::other("the thread that reads network namespaces died"))
}

/// Runs a function in a network namespace, given as its file in `/proc/PID/ns`.
pub fn within<T: Send>(
    namespace: &File,
    function: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let enter = || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        function()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, enter)?;
        thread.join().map_err(|_| io::Error::other("the thread in a network namespace died"))?
    })
}

fn of(namespace: &File) -> io::Result<u64> {
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
    own()
}

/// The cookie of the network namespace that a socket was made in.
pub fn cookie(socket: &impl AsRawFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which outlives the call, and
    // the descriptor is open for as long as `socket` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
