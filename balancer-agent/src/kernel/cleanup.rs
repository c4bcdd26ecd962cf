//! Removes what the agent put into the kernel.

use std::{fs, io, path::Path};

use super::{KernelError, link, lock::Lock, outside, pin};
use crate::{maps::pins, nat};

/// What the names of programs that choose backends begin with.
const CHOOSING: [&str; 2] = ["connect", "sendmsg"];

/// What [`cleanup`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Links: programs that were attached.
    pub links: usize,
    /// Maps.
    pub maps: usize,
}

/// Detaches every program and removes every map that is pinned under `bpffs`, of any layout
/// version. Open connections go on; they are no longer counted. Programs that choose backends go
/// before those that count, so that no connection is balanced half-way.
pub fn cleanup(bpffs: &Path) -> Result<Removed, KernelError> {
    let mut removed = Removed::default();
    if !bpffs.exists() {
        return Ok(removed);
    }
    // An agent would go on without what is removed here, or put it back.
    let _lock = Lock::take(bpffs)?;
    for version in folders(bpffs)? {
        let links = bpffs.join(&version).join("links");
        removed.links += outside(&links)?;
        let mut names = files(&links)?;
        names.sort_by_key(|name| !CHOOSING.iter().any(|hook| name.starts_with(hook)));
        for name in names {
            removed.links += usize::from(link::remove(links.join(name))?);
        }
        let maps = bpffs.join(&version).join("maps");
        for name in files(&maps)? {
            removed.maps += usize::from(pin::remove(maps.join(name))?);
        }
        for folder in [links, maps, bpffs.join(&version)] {
            remove_folder(&folder)?;
        }
    }
    remove_folder(bpffs)?;
    Ok(removed)
}

/// Takes away what serves traffic from outside: the programs with pins in a folder, and the rules, which may be
/// there without any program. Says how many programs there were.
pub fn outside(links: &Path) -> Result<usize, KernelError> {
    let devices = match outside::devices_in(links) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(KernelError::Pin { path: links.into(), source: error });
        }
        devices => devices.unwrap_or_default(),
    };
    let mut removed = 0;
    for device in devices {
        removed += outside::detach(links, device)?;
    }
    nat::table::delete()?;
    Ok(removed)
}

/// Folders of layout versions: `v1`, `v2`, ...
fn folders(bpffs: &Path) -> Result<Vec<String>, KernelError> {
    let versions = files(bpffs)?
        .into_iter()
        .filter(|name| name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok()));
    Ok(versions.collect())
}

/// A layout version other than that of this agent of which programs are still attached.
pub fn other_layout(bpffs: &Path) -> Result<Option<String>, KernelError> {
    for version in folders(bpffs)? {
        if version != pins::version() && !files(&bpffs.join(&version).join("links"))?.is_empty() {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

fn files(folder: &Path) -> Result<Vec<String>, KernelError> {
    let failed = |source| KernelError::Pin { path: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Removes an empty folder; one that is gone, holds something else or is a mount point stays.
fn remove_folder(folder: &Path) -> Result<(), KernelError> {
    match fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::ResourceBusy
            ) =>
        {
            Ok(())
        }
        Err(source) => Err(KernelError::Pin { path: folder.into(), source }),
    }
}
