//! The network namespaces of the processes of a cgroup.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{cgroup, processes};

/// The processes of a cgroup and those below that are in a network namespace, given as its inode.
pub fn processes_in(cgroup: &Path, network: Option<u64>) -> Vec<u32> {
    let mut found = cgroup::processes(cgroup);
    let inode = |pid: &u32| fs::metadata(processes::network(*pid)).map(|found| found.ino());
    found.retain(|pid| network.is_some() && inode(pid).ok() == network);
    found
}

/// The network namespaces of the processes of a cgroup and those below, each once, by inode. A pod
/// has more than one where it makes its own; clients there go out by the addresses of the pod.
pub fn networks(cgroup: &Path) -> BTreeMap<u64, File> {
    let mut found = BTreeMap::new();
    for pid in cgroup::processes(cgroup) {
        // A process may end at any moment.
        let path = processes::network(pid);
        let Ok(inode) = fs::metadata(&path).map(|found| found.ino()) else { continue };
        if let (false, Ok(file)) = (found.contains_key(&inode), File::open(&path)) {
            found.insert(inode, file);
        }
    }
    found
}
