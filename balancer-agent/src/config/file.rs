//! The file of `--config`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::Settings;

/// A configuration file that cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something that has no meaning.
    #[error("configuration file {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the key, line and column.
        source: serde_norway::Error,
    },
}

pub(super) fn read(path: &Path) -> Result<Settings, FileError> {
    let text = fs::read_to_string(path)
        .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    // A file of nothing but comments sets nothing; YAML calls it null.
    let settings: Option<Settings> = serde_norway::from_str(&text)
        .map_err(|source| FileError::Parse { path: path.to_owned(), source })?;
    Ok(settings.unwrap_or_default())
}
