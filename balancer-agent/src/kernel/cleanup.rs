//! Removes what the agent put into the kernel.

use std::{fs, io, path::Path};

use super::{KernelError, link, lock::Lock, outside, pin};
use crate::{
    maps::pins::{self, Pins},
    nat,
};

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
        let mut names = files(&links)?;
        names.sort_by_key(|name| !CHOOSING.iter().any(|hook| name.starts_with(hook)));
        if names.iter().any(|name| name.starts_with(outside::LINKS)) {
            remove_tables(&links)?;
        }
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

/// Takes away what serves traffic from outside, if an earlier agent did.
pub fn outside(pins: &Pins) -> Result<(), KernelError> {
    let links = pins.folder().join("links");
    let names = files(&links)?.into_iter().filter(|name| name.starts_with(outside::LINKS));
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        for name in names {
            link::remove(links.join(name))?;
        }
        remove_tables(&links)?;
    }
    Ok(())
}

fn remove_tables(links: &Path) -> Result<(), KernelError> {
    let removed = nat::table::delete();
    removed.map(drop).map_err(|source| KernelError::Pin { path: links.into(), source })
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
