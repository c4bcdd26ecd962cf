//! Removing labs: at the end, on a signal, and on behalf of owners that were killed.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use super::{cgroup, place::NETNS_DIR, state};
use crate::{
    error::{Attempt, Result, on},
    host,
};

/// Removes what labs of dead owners left behind; returns their identifiers.
pub fn sweep() -> Result<Vec<String>> {
    sweep_dead(&state::Census::take()?)
}

/// Removes the labs that were left up on purpose (and what dead owners left behind); labs in use by
/// a living owner stay.
pub fn sweep_kept() -> Result<Vec<String>> {
    let census = state::Census::take()?;
    for (id, _) in state::list()? {
        if Path::new(state::RUN_DIR).join(&id).join(state::KEPT).exists() {
            // The holder dies with the cgroup, which frees the lock.
            cgroup::remove(&host::cgroup2_root()?.join(state::cgroup_name(&id)))?;
        }
    }
    sweep_dead(&census)
}

/// Removes the labs of this process and lets it build no more. To be called once, right before
/// exiting on a signal.
pub fn remove_own() -> Result<()> {
    // Never released: a thread that is about to build waits here until the process is gone.
    std::mem::forget(state::building());
    state::own().iter().try_for_each(|id| remove(id))
}

pub(super) fn sweep_dead(census: &state::Census) -> Result<Vec<String>> {
    let mut ids: BTreeSet<String> = state::list()?.into_iter().map(|(id, _)| id).collect();
    // Also what lost its directory, as /run is empty after a restart of a container.
    for dir in [host::cgroup2_root()?.as_path(), Path::new(NETNS_DIR)] {
        ids.extend(names(dir)?.iter().filter_map(|name| state::id_of(name)).map(str::to_owned));
    }
    ids.retain(|id| census.is_dead(id));
    for id in &ids {
        remove(id)?;
    }
    Ok(ids.into_iter().collect())
}

/// Removes everything that carries a lab's identifier. Every step tolerates that its object is
/// already gone.
pub(super) fn remove(id: &str) -> Result<()> {
    cgroup::remove(&host::cgroup2_root()?.join(state::cgroup_name(id)))?;
    let gone: String = names(Path::new(NETNS_DIR))?
        .iter()
        .filter(|name| state::id_of(name) == Some(id))
        .map(|name| format!("netns del {name}\n"))
        .collect();
    if !gone.is_empty() {
        host::ip(None, &gone)?;
    }
    let dir = Path::new(state::RUN_DIR).join(id);
    // Its own, and those of its nodes where it has several.
    let nodes = names(&dir)?.into_iter().map(|name| dir.join(name));
    for bpffs in nodes.chain([dir.clone()]).map(|above| above.join("bpffs")) {
        match umount2(&bpffs, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EINVAL) => {}
            Err(error) => Err(error).attempt(on("unmount", &bpffs))?,
        }
    }
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).attempt(on("remove", &dir)),
        _ => Ok(()),
    }
}

/// The names in a directory; none if it is not there.
fn names(dir: &Path) -> Result<Vec<String>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        result => Ok(result
            .attempt(on("list", dir))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()),
    }
}
