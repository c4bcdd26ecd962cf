//! The archive, in memory until it is whole.

use std::io;

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use tar::{Builder, Header};

/// Files in one folder, compressed.
pub(super) struct Archive {
    folder: String,
    taken: u64,
    files: Builder<GzEncoder<Vec<u8>>>,
}

impl Archive {
    /// None yet; all will be of the time given.
    pub(super) fn new(folder: &str, taken: Timestamp) -> Self {
        let files = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let taken = u64::try_from(taken.as_second()).unwrap_or_default();
        Self { folder: folder.to_owned(), taken, files }
    }

    /// Adds a file that its owner may read.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.taken);
        self.files.append_data(&mut header, format!("{}/{name}", self.folder), content)
    }

    /// Its bytes.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.files.into_inner()?.finish()
    }
}
