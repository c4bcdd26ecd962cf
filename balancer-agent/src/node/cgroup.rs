//! Where cgroup2 is mounted, in the unified and in the hybrid layout, and what a cgroup is.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use thiserror::Error;

use super::mounts;

/// Why there is no cgroup to attach to.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// No cgroup2 among the mounts.
    #[error(
        "cgroup2 is not mounted: mount it with `mount -t cgroup2 none /sys/fs/cgroup` (in a \
         container, mount the host's /sys/fs/cgroup), or name it with --cgroup"
    )]
    NotMounted,
    /// The table of mounts cannot be read.
    #[error("cannot read /proc/self/mountinfo, where cgroup2 is looked up: {0}; is /proc mounted?")]
    Mountinfo(#[from] io::Error),
}

/// The root of the cgroup2 mount.
pub fn root() -> Result<PathBuf, CgroupError> {
    let is_root = |path: &Path| kind(path) == Kind::Root;
    find(&fs::read_to_string("/proc/self/mountinfo")?, is_root).ok_or(CgroupError::NotMounted)
}

/// A mount of the whole tree is preferred to one of a part of it; among equals the first wins. The
/// table alone does not tell: in a cgroup namespace its paths begin at the container's own cgroup,
/// which is `/` there, and the root of the machine is `/../..`.
fn find(table: &str, is_root: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut found: Vec<_> =
        mounts::parse(table).into_iter().filter(|mount| mount.kind == "cgroup2").collect();
    found.sort_by_key(|mount| (!is_root(&mount.at), mount.root != "/"));
    found.into_iter().next().map(|mount| mount.at)
}

/// What stands at a path that should be a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The root of the whole tree: every process of the machine is below.
    Root,
    /// A cgroup below the root.
    Child,
    /// Not a folder of cgroup2.
    Foreign,
}

/// Tells what stands at `path`.
pub fn kind(path: &Path) -> Kind {
    let is_cgroup2 =
        path.is_dir() && statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
    match is_cgroup2 {
        false => Kind::Foreign,
        // cgroup-v2.rst: "cgroup.type" exists on non-root cgroups. A cgroup namespace makes a
        // child look like the root in every path, but does not hide this file.
        true if path.join("cgroup.type").exists() => Kind::Child,
        true => Kind::Root,
    }
}

/// Whether this process is in a cgroup or below it; `None` where that can't be told, as in a
/// namespace of cgroups whose own root is none of the mounts.
pub fn contains_self(cgroup: &Path) -> Option<bool> {
    if kind(cgroup) == Kind::Root {
        return Some(true);
    }
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = fs::canonicalize(root().ok()?.join(own.trim_start_matches('/'))).ok()?;
    Some(own.starts_with(fs::canonicalize(cgroup).ok()?))
}

/// The processes of a cgroup and those below, as far as this process may see them.
pub fn processes(cgroup: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let mut queue = VecDeque::from([cgroup.to_owned()]);
    while let Some(path) = queue.pop_front() {
        let listed = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        // 0 is a process of another pid namespace.
        found.extend(
            listed.lines().filter_map(|pid| pid.parse().ok().filter(|pid: &u32| *pid != 0)),
        );
        queue.extend(children(&path));
    }
    found
}

/// The cgroups right below one.
pub fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TMPFS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n";
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    #[test]
    fn the_mount_is_found_in_every_layout() {
        let hybrid = format!(
            "{TMPFS}{V1}41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
        );
        let unified = "24 22 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        let part_first = format!("50 1 0:26 /kubepods /part rw - cgroup2 none rw\n{unified}");
        for (table, want) in [
            (hybrid.as_str(), Some("/sys/fs/cgroup/unified")),
            (unified, Some("/sys/fs/cgroup")),
            (part_first.as_str(), Some("/sys/fs/cgroup")),
            (&format!("{TMPFS}{V1}"), None),
        ] {
            assert_eq!(find(table, |_| false).as_deref(), want.map(Path::new), "{table}");
        }
    }

    #[test]
    fn a_container_finds_the_root_of_the_machine() {
        let table = "50 1 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n\
                     51 1 0:26 /../../.. /host/cgroup ro - cgroup2 cgroup2 rw\n";
        let host = Path::new("/host/cgroup");
        assert_eq!(find(table, |path| path == host).as_deref(), Some(host));
    }

    #[test]
    fn the_root_has_every_process_and_what_is_gone_has_none() {
        assert_eq!(contains_self(&root().unwrap()), Some(true));
        assert_eq!(contains_self(Path::new("/nonexistent")), None);
    }

    #[test]
    fn a_plain_folder_is_no_cgroup() {
        assert_eq!(kind(Path::new("/proc")), Kind::Foreign);
        assert_eq!(kind(Path::new("/nonexistent")), Kind::Foreign);
    }
}
