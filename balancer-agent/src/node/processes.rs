//! Which processes this one sees, and what is left of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The kernel's fixed inode of the first namespace of processes (`PROC_PID_INIT_INO`).
const INITIAL: &str = "pid:[4026531836]";

/// True if this process sees all those of the machine: it is in the first namespace of processes.
pub fn sees_all() -> bool {
    fs::read_link("/proc/self/ns/pid").is_ok_and(|found| found == Path::new(INITIAL))
}

/// A thread of a process that runs: its main thread, or where that has ended another one. What a main
/// thread has ended with, such as descriptors and namespaces, is told of the others alone.
pub fn thread(process: u32) -> u32 {
    if is_alive(process, process) {
        return process;
    }
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut numbers = threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find(|thread| is_alive(process, *thread)).unwrap_or(process)
}

/// The file of the network namespace of a process.
pub fn network(process: u32) -> PathBuf {
    format!("/proc/{}/ns/net", thread(process)).into()
}

/// True for a thread that has a network namespace.
fn is_alive(process: u32, thread: u32) -> bool {
    fs::read_link(format!("/proc/{process}/task/{thread}/ns/net")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_thread_is_named_while_it_runs() {
        let own = std::process::id();
        assert_eq!(thread(own), own);
        assert_eq!(thread(u32::MAX), u32::MAX, "of none, its number");
    }

    #[test]
    fn a_process_that_sees_all_sees_the_threads_of_the_kernel() {
        let kthreadd = fs::read_to_string("/proc/2/comm").unwrap_or_default();
        assert_eq!(sees_all(), kthreadd.trim() == "kthreadd");
    }
}
