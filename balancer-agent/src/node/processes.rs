//! Which processes this one sees, and what is left of them.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// The kernel's fixed inode of the first namespace of processes (`PROC_PID_INIT_INO`).
const INITIAL: &str = "pid:[4026531836]";

/// True if this process sees all those of the machine: it is in the first namespace of processes.
pub fn sees_all() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|found| found == Path::new(INITIAL))
}

/// A thread of a process that runs. What a main thread has ended with, such as descriptors and
/// namespaces, is told of the others alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its number.
    pub number: u32,
    /// The inode of its network namespace.
    pub network: u64,
}

impl Thread {
    /// The main thread of a process, or where that has ended another one; none where all have.
    pub fn of(process: u32) -> Option<Self> {
        Self::running(process, process).or_else(|| {
            let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
            let mut numbers =
                threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            numbers.find_map(|thread| Self::running(process, thread))
        })
    }

    /// The file of its network namespace.
    pub fn open_network(&self) -> io::Result<File> {
        File::open(format!("/proc/{}/ns/net", self.number))
    }

    /// The link tells both: whether it runs, and the inode.
    fn running(process: u32, number: u32) -> Option<Self> {
        let link = fs::read_link(format!("/proc/{process}/task/{number}/ns/net")).ok()?;
        let inode = link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?;
        Some(Self { number, network: inode.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_main_thread_is_named_while_it_runs() {
        let own = std::process::id();
        let thread = Thread::of(own).unwrap();
        assert_eq!(thread.number, own);
        let network = thread.open_network().unwrap().metadata().unwrap();
        assert_eq!(thread.network, network.ino());
        assert_eq!(Thread::of(u32::MAX), None);
    }

    #[test]
    fn a_process_that_sees_all_sees_the_threads_of_the_kernel() {
        let kthreadd = fs::read_to_string("/proc/2/comm").unwrap_or_default();
        assert_eq!(sees_all(), kthreadd.trim() == "kthreadd");
    }
}
