//! The network namespaces of the processes of a cgroup.

use std::{collections::BTreeMap, fs::File, os::unix::fs::MetadataExt as _, path::Path};

use super::{cgroup, processes::Thread};

/// The network namespaces of the processes of a cgroup and those below, by inode, each with one of
/// the processes that are in it.
pub fn processes(cgroup: &Path) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    for process in cgroup::processes(cgroup) {
        // A process may end at any moment.
        if let Some(thread) = Thread::of(process) {
            found.entry(thread.network).or_insert(process);
        }
    }
    found
}

/// The network namespaces of the processes of a cgroup and those below, each once, by inode. A pod
/// has more than one where it makes its own; clients there go out by the addresses of the pod.
pub fn networks(cgroup: &Path) -> BTreeMap<u64, File> {
    let open = |process| {
        let file = Thread::of(process)?.open_network().ok()?;
        Some((file.metadata().ok()?.ino(), file))
    };
    processes(cgroup).into_values().filter_map(open).collect()
}
