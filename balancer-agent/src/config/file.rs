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
    #[error(
        "configuration file {}: {}{source}",
        path.display(),
        key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default()
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// The key; none where the text is no YAML.
        key: Option<String>,
        /// What the parser says, with line and column.
        source: Box<serde_saphyr::Error>,
    },
}

impl Settings {
    /// Reads the YAML of `--config`.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        // A file of nothing but comments sets nothing; YAML calls it null.
        let options = serde_saphyr::options! { with_snippet: false };
        let settings: Option<Self> =
            serde_saphyr::from_str_with_options(&text, options).map_err(|source| {
                FileError::Parse {
                    path: path.to_owned(),
                    key: key_of_error(&text),
                    source: source.into(),
                }
            })?;
        Ok(settings.unwrap_or_default())
    }
}

/// The key whose value can't be read.
fn key_of_error(text: &str) -> Option<String> {
    let mut key = None;
    let read = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        let settings = serde_path_to_error::deserialize::<_, Settings>(yaml);
        settings.map(drop).map_err(|error| {
            key = Some(error.path().to_string());
            error.into_inner()
        })
    });
    // Neither the whole of it nor what nobody knows is a key.
    key.filter(|key| read.is_err() && !matches!(key.as_str(), "." | "?"))
}
