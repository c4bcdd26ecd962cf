//! Whether pins can be kept at a path, and what is pinned there.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
};

use aya::maps::MapData;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// True if `path`, or the nearest folder above it that exists, is on a BPF file system.
pub fn mounted_at(path: &Path) -> bool {
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    existing
        .is_some_and(|folder| statfs(folder).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC))
}

/// Maps pinned below a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinnedMaps {
    /// How many.
    pub maps: usize,
    /// Bytes of kernel memory that they hold.
    pub bytes: u64,
}

/// Adds up the maps pinned below `folder`; needs CAP_BPF, and counts what it may open.
pub fn pinned_maps(folder: &Path) -> PinnedMaps {
    let mut sum = PinnedMaps::default();
    for path in files(folder) {
        // Links and programs are pinned there too; the kernel refuses them as maps.
        if let Some(bytes) = memory(&path) {
            sum.maps += 1;
            sum.bytes += bytes;
        }
    }
    sum
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    found
}

/// Bytes of kernel memory of a pinned map, which the kernel tells only in the fdinfo of a descriptor;
/// none where that is no map, or not ours to open.
pub fn memory(pin: &Path) -> Option<u64> {
    let map = MapData::from_pin(pin).ok()?;
    let number = map.fd().as_fd().as_raw_fd();
    memlock(&fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?)
}

fn memlock(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_folder_is_no_bpffs() {
        assert!(!mounted_at(Path::new("/proc/self")));
        assert!(!mounted_at(Path::new("/nonexistent/below/nothing")));
    }

    #[test]
    fn the_memory_is_read_from_fdinfo() {
        let fdinfo = "pos:\t0\nmap_type:\t1\nmax_entries:\t4\nmemlock:\t4096\nmap_id:\t7\n";
        assert_eq!(memlock(fdinfo), Some(4096));
        assert_eq!(memlock("pos:\t0\n"), None);
    }
}
