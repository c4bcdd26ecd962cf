//! Sockets that other processes hold: which process has one, and the same socket for this process.
//!
//! `pidfd_getfd` (Linux 5.6) gives a descriptor of the very socket, not a copy of it. It needs
//! CAP_SYS_PTRACE.
#![allow(unsafe_code, reason = "no safe wrapper asks a socket of another process")]

use std::{
    fs, io,
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use nix::sys::socket::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::tcp_info::{Activity, LENGTH};

/// Most descriptors of a process that are looked at.
const MOST: usize = 1 << 16;
/// After so many of them who looks says that it goes on.
const PART: usize = 500;

/// The descriptors of a thread and those that share them with it: `each` takes the inode of each
/// socket and its number. Nothing where the thread is gone. `alive` is called now and then. False where
/// there are more than are looked at.
pub fn sockets(thread: u32, alive: impl Fn(), mut each: impl FnMut(u32, RawFd)) -> bool {
    let mut entries = fs::read_dir(format!("/proc/{thread}/fd")).into_iter().flatten().flatten();
    let socket = |entry: &fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some((inode.parse().ok()?, entry.file_name().to_str()?.parse().ok()?))
    };
    for (number, entry) in entries.by_ref().take(MOST).enumerate() {
        if number % PART == 0 {
            alive();
        }
        if let Some((inode, descriptor)) = socket(&entry) {
            each(inode, descriptor);
        }
    }
    entries.next().is_none()
}

/// The name of a process, as it or its program says.
pub fn name(pid: u32) -> Option<String> {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(comm.trim_end().to_owned())
}

/// `PIDFD_THREAD` of linux/pidfd.h: the descriptor is of a thread.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());

/// Another process.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// Refers to a process for as long as this lives, whoever gets its number afterwards. `thread`
    /// is one that runs; where it is not the main thread, Linux 6.9 is needed (EINVAL before).
    pub fn open(process: u32, thread: u32) -> io::Result<Self> {
        let flags = if thread == process { PidfdFlags::empty() } else { PIDFD_THREAD };
        let number = i32::try_from(thread).ok().and_then(Pid::from_raw);
        Ok(Self(pidfd_open(number.ok_or(io::ErrorKind::NotFound)?, flags)?))
    }

    /// What the process has as this descriptor at this moment.
    pub fn socket(&self, descriptor: RawFd) -> io::Result<Shared> {
        Ok(Shared(pidfd_getfd(&self.0, descriptor, PidfdGetfdFlags::empty())?))
    }
}

/// A socket shared with another process.
#[derive(Debug)]
pub struct Shared(OwnedFd);

impl Shared {
    /// The cookie of the socket: tells whether it is the one that was meant. An error for what is
    /// no socket.
    pub fn cookie(&self) -> io::Result<u64> {
        let (bytes, _) = self.option::<8>(libc::SOL_SOCKET, libc::SO_COOKIE)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// What its connection does at this moment.
    pub fn activity(&self) -> io::Result<Activity> {
        let (info, length) = self.option::<LENGTH>(libc::IPPROTO_TCP, libc::TCP_INFO)?;
        let unread = self.queue(libc::FIONREAD)?;
        let unacknowledged = self.queue(libc::TIOCOUTQ)?;
        let short = || io::Error::other("the kernel tells less of TCP than Linux 5.15 does");
        Activity::read(&info[..length], unread, unacknowledged).ok_or_else(short)
    }

    /// True where its program sends soon after it has received something: the kernel then waits
    /// with acknowledgements, which `TCP_QUICKACK` tells.
    pub fn sends_at_once(&self) -> io::Result<bool> {
        let (value, _) = self.option::<4>(libc::IPPROTO_TCP, libc::TCP_QUICKACK)?;
        Ok(i32::from_ne_bytes(value) == 0)
    }

    /// Lets its program read an end of file, and send nothing more: what it sent to a socket of
    /// which only the reading side is shut would be executed, and nobody would read the answer.
    pub fn end(&self) -> io::Result<()> {
        Ok(shutdown(self.0.as_raw_fd(), Shutdown::Both)?)
    }

    fn option<const N: usize>(&self, level: i32, name: i32) -> io::Result<([u8; N], usize)> {
        let mut value = [0; N];
        let mut length = N as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `value`, which outlives the call, and
        // the descriptor is open for as long as `self` is borrowed.
        let result = unsafe {
            let value = value.as_mut_ptr().cast();
            libc::getsockopt(self.0.as_raw_fd(), level, name, value, &raw mut length)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((value, N.min(length as usize)))
    }

    /// Bytes in one of the queues.
    fn queue(&self, which: libc::Ioctl) -> io::Result<u32> {
        let mut bytes = MaybeUninit::<libc::c_int>::zeroed();
        // SAFETY: both requests write one int to `bytes`, which outlives the call, and the
        // descriptor is open for as long as `self` is borrowed. It was zeroed.
        let (result, bytes) = unsafe {
            let result = libc::ioctl(self.0.as_raw_fd(), which, bytes.as_mut_ptr());
            (result, bytes.assume_init())
        };
        if result == 0 { Ok(bytes.unsigned_abs()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        collections::BTreeMap,
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        os::unix::fs::MetadataExt as _,
        process,
        time::Duration,
    };

    use super::*;

    fn inode(stream: &TcpStream) -> u32 {
        let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
        u32::try_from(fs::metadata(path).unwrap().ino()).unwrap()
    }

    fn all(thread: u32) -> BTreeMap<u32, RawFd> {
        let mut all = BTreeMap::new();
        sockets(thread, || {}, |inode, descriptor| all.extend([(inode, descriptor)]));
        all
    }

    #[test]
    fn who_looks_at_many_descriptors_says_that_it_goes_on() {
        let file = fs::File::open("/dev/null").unwrap();
        let _many: Vec<_> = (0..PART).map(|_| file.try_clone().unwrap()).collect();
        let said = Cell::new(0);
        sockets(process::id(), || said.set(said.get() + 1), |_, _| {});
        assert!(said.get() >= 2, "{said:?}");
    }

    /// The process shares with itself, which needs no privilege.
    #[test]
    fn a_shared_socket_is_read_and_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let own = process::id();
        assert_eq!(all(own)[&inode(&client)], client.as_raw_fd());

        let shared = Process::open(own, own).unwrap().socket(client.as_raw_fd()).unwrap();
        let other = Process::open(own, own).unwrap().socket(server.as_raw_fd()).unwrap();
        assert_ne!(shared.cookie().unwrap(), other.cookie().unwrap());

        server.write_all(b"hello").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(client.peek(&mut [0; 8]).unwrap(), 5);
        let activity = shared.activity().unwrap();
        assert_eq!((activity.unread, activity.bytes_received), (5, 5));
        assert!(!activity.is_empty(), "something is unread: {activity:?}");
        let mut buffer = [0; 8];
        assert_eq!(client.read(&mut buffer).unwrap(), 5);
        assert!(shared.activity().unwrap().is_empty());

        shared.end().unwrap();
        assert_eq!(client.read(&mut buffer).unwrap(), 0, "the client reads an end of file");
        // Nothing of what it sends all the same arrives: the server reads the end of it.
        let refused = client.write_all(b"late").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(server.read(&mut buffer).unwrap(), 0, "so does the server");
    }

    #[test]
    fn who_sends_on_receipt_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let shared = Process::open(process::id(), process::id());
        let shared = shared.unwrap().socket(client.as_raw_fd()).unwrap();
        client.write_all(b"?").unwrap();
        assert!(!shared.sends_at_once().unwrap(), "it has received nothing");
        for _ in 0..10 {
            server.read_exact(&mut [0]).unwrap();
            server.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
            client.write_all(b"?").unwrap();
        }
        assert!(shared.sends_at_once().unwrap());
    }

    #[test]
    fn a_process_that_is_gone_is_no_error_to_look_at() {
        assert!(all(u32::MAX).is_empty());
        assert!(Process::open(u32::MAX, u32::MAX).is_err());
        assert_eq!(name(u32::MAX), None);
    }
}
