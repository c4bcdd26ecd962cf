//! One agent for the pins of a folder.
//!
//! The folder itself is locked: whichever path leads to it, it is the same lock. The kernel drops it
//! with its process, however that ends. Programs that the agent starts do not inherit it.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::KernelError;

/// The lock on the folder given with `--bpffs`, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
    held: Flock<File>,
}

impl Lock {
    /// Takes it; makes the folder, readable by root alone, where there is none.
    pub fn take(folder: &Path) -> Result<Self, KernelError> {
        let fault = |source| KernelError::Pin { path: folder.into(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fault)?;
        let file = File::open(folder).map_err(fault)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Self { folder: folder.into(), held }),
            Err((file, Errno::EWOULDBLOCK)) => {
                Err(KernelError::Held { bpffs: folder.into(), holder: holder(&file) })
            }
            Err((_, errno)) => Err(fault(errno.into())),
        }
    }

    /// Takes it again where the folder was removed and another has its place.
    pub fn keep(&mut self) -> Result<(), KernelError> {
        let fault = |source| KernelError::Pin { path: self.folder.clone(), source };
        let (there, held) =
            (fs::metadata(&self.folder).map_err(fault)?, self.held.metadata().map_err(fault)?);
        if (there.dev(), there.ino()) != (held.dev(), held.ino()) {
            *self = Self::take(&self.folder)?;
        }
        Ok(())
    }
}

/// Who holds the lock of a file, by `/proc/locks`, which names devices and inodes.
fn holder(file: &File) -> String {
    let unknown = || "unknown".to_owned();
    let (Ok(found), Ok(locks)) = (file.metadata(), fs::read_to_string("/proc/locks")) else {
        return unknown();
    };
    let inode = format!(":{}", found.ino());
    let of_it = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut of_it = of_it.filter(|fields| {
        fields.get(1) == Some(&"FLOCK") && fields.get(5).is_some_and(|id| id.ends_with(&inode))
    });
    of_it.find_map(|fields| Some((*fields.get(4)?).to_owned())).unwrap_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once_and_its_holder_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pins");
        let mut lock = Lock::take(&path).expect("free");
        let by_another_way = folder.path().join("way");
        std::os::unix::fs::symlink(&path, &by_another_way).expect("a link");
        let error = Lock::take(&by_another_way).expect_err("held").to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");

        fs::remove_dir(&path).expect("removed");
        fs::create_dir(&path).expect("made again");
        lock.keep().expect("taken again");
        assert!(matches!(Lock::take(&path), Err(KernelError::Held { .. })));
        drop(lock);
        Lock::take(&path).expect("free again");
    }
}
