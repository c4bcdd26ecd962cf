//! The cgroups that kubelet makes for pods.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::PodsError;
use crate::{
    desired::pods::DesiredPod,
    node::cgroup::{self, Kind, children},
};

/// Inode of the root of cgroup2; that of any other cgroup is another one.
const ROOT: u64 = 1;

/// A cgroup of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCgroup {
    /// Where it is.
    pub path: PathBuf,
    /// Its identifier, the inode of its directory.
    pub id: u64,
    /// Its level, the root's being 0.
    pub level: u32,
}

/// The cgroups of the pods that are wanted, by uid. Breadth first, and into no pod: kubelet's are
/// near the top, and what a pod has below has no other.
pub fn find(
    cgroup: &Path,
    wanted: &BTreeMap<String, DesiredPod>,
) -> Result<BTreeMap<String, PodCgroup>, PodsError> {
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let mut queue = VecDeque::from([(cgroup.to_owned(), level(cgroup)?)]);
    while let Some((path, level)) = queue.pop_front() {
        for child in children(&path) {
            let Some(uid) = child.file_name().and_then(|name| uid(name.to_str()?)) else {
                queue.push_back((child, level + 1));
                continue;
            };
            // It may be gone already.
            let Ok(directory) = fs::metadata(&child) else { continue };
            if wanted.contains_key(&uid) {
                found.insert(uid, PodCgroup { path: child, id: directory.ino(), level: level + 1 });
            }
        }
        if found.len() == wanted.len() {
            break;
        }
    }
    Ok(found)
}

/// The uid of the pod whose cgroup has this name: `podUID` as kubelet makes them itself,
/// `kubepods-burstable-podUID.slice` with `_` for `-` as it asks systemd for them.
fn uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    // A uuid, or the hash that stands for one where kubelet reads a pod from its own folder.
    let is_uid = uid.len() >= 32 && uid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    is_uid.then_some(uid)
}

/// How far a cgroup is below the root.
fn level(cgroup: &Path) -> Result<u32, PodsError> {
    let named = || cgroup.display().to_string();
    let failed = |source| PodsError::Cgroup { path: named(), source };
    let mut path = fs::canonicalize(cgroup).map_err(failed)?;
    let mut level = 0;
    while fs::metadata(&path).map_err(failed)?.ino() != ROOT {
        level += 1;
        if !path.pop() || cgroup::kind(&path) == Kind::Foreign {
            return Err(PodsError::NoRoot { path: named() });
        }
    }
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_drivers_tell_the_uid() {
        let with_dashes = "5f0a7a3e-0001-4a4a-8c8c-000000000001";
        let hash = "0cc175b9c0f1b6a831c399e269772661";
        for (name, want) in [
            ("pod5f0a7a3e-0001-4a4a-8c8c-000000000001", Some(with_dashes)),
            ("kubepods-pod5f0a7a3e_0001_4a4a_8c8c_000000000001.slice", Some(with_dashes)),
            (
                "kubelet-kubepods-burstable-pod5f0a7a3e_0001_4a4a_8c8c_000000000001.slice",
                Some(with_dashes),
            ),
            ("pod0cc175b9c0f1b6a831c399e269772661", Some(hash)),
            ("kubepods-besteffort-pod0cc175b9c0f1b6a831c399e269772661.slice", Some(hash)),
            ("kubepods.slice", None),
            ("kubepods-burstable.slice", None),
            ("kubepods", None),
            ("podman-1234.scope", None),
            ("podcast", None),
            ("user-podman.slice", None),
        ] {
            assert_eq!(uid(name).as_deref(), want, "{name}");
        }
    }

    #[test]
    fn levels_count_from_the_root() {
        let root = cgroup::root().unwrap();
        assert_eq!(level(&root).unwrap(), 0);
        let error = level(Path::new("/proc/self")).unwrap_err().to_string();
        assert!(error.contains("does not begin at the root"), "{error}");
        let error = level(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("can't be read"), "{error}");
    }
}
