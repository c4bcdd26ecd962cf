//! Makes the folders of the pins, and removes pins.

use std::{fs, io, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use super::KernelError;
use crate::maps::pins::Pins;

/// Makes the folders, readable by root alone.
pub fn create_folders(pins: &Pins) -> Result<(), KernelError> {
    for folder in ["maps", "links"] {
        let path = pins.folder().join(folder);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|source| KernelError::Pin { path, source })?;
    }
    Ok(())
}

/// Removes a pin; false if there was none.
pub fn remove(path: PathBuf) -> Result<bool, KernelError> {
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(KernelError::Pin { path, source }),
    }
}
