//! Where everything is pinned.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use balancer_common::layout::LAYOUT_VERSION;

use super::KernelError;

/// Name of each map in the object and of its pin.
pub const MAPS: [&str; 18] = [
    "ACTIVE",
    "BACKENDS",
    "CHARGES",
    "CLIENTS",
    "CONTROL",
    "FLOWS",
    "FRONTENDS4",
    "FRONTENDS6",
    "NAMES",
    "OPTED_OUT",
    "PINS",
    "RANGES",
    "RECORDS",
    "SERVICES",
    "SERVING",
    "SINCE",
    "SLOTS",
    "VERDICTS",
];

/// The folder of this version's layout.
pub(super) fn version() -> String {
    format!("v{LAYOUT_VERSION}")
}

/// The folders of one agent.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// The pins under the folder given with `--bpffs`, for this version's layout.
    pub fn new(bpffs: &Path) -> Self {
        Self { root: bpffs.join(version()) }
    }

    /// The folder of them all.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The pin of a map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    /// The pin of a program's link.
    pub fn link(&self, program: &str) -> PathBuf {
        self.root.join("links").join(program)
    }

    /// Makes the folders, readable by root alone.
    pub(super) fn create(&self) -> Result<(), KernelError> {
        use std::os::unix::fs::DirBuilderExt as _;
        for folder in ["maps", "links"] {
            let path = self.root.join(folder);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| KernelError::Pin { path, source })?;
        }
        Ok(())
    }
}

/// Removes a pin; false if there was none.
pub(super) fn remove(path: PathBuf) -> Result<bool, KernelError> {
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(KernelError::Pin { path, source }),
    }
}
