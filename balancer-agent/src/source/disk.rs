//! The folder on disk: what is in it, and the bytes of a file.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::object::STAYS;

/// The largest file that is read.
pub const MAX_BYTES: u64 = 64 << 20;

/// Tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let ns = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// True where both are states of one file, written in place.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// A file as the listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Of the file, or of what a link points to; `None` where a link points to nothing.
    pub stamp: Option<Stamp>,
    /// True for a symbolic link.
    pub link: bool,
}

/// A folder as it is on disk.
#[derive(Debug)]
pub struct Listing {
    /// Of the folder itself.
    pub folder: Stamp,
    /// The manifests, by name.
    pub files: BTreeMap<String, Listed>,
}

/// True for names of manifests: not hidden, not an editor's copy.
pub fn is_manifest(name: &str) -> bool {
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    !name.starts_with('.') && matches!(suffix, "yaml" | "yml" | "json")
}

/// Lists the manifests of a folder.
pub fn list(dir: &Path) -> io::Result<Listing> {
    let folder = Stamp::of(&fs::metadata(dir)?);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_manifest(name)) else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let link = kind.is_symlink();
        let stamp = fs::metadata(entry.path()).ok().as_ref().map(Stamp::of);
        // A file that is no link and has no state went away while the folder was read.
        if link || stamp.is_some() {
            files.insert(name.to_owned(), Listed { stamp, link });
        }
    }
    Ok(Listing { folder, files })
}

/// What an attempt to read a file came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Bytes {
    /// All of it.
    Whole(Vec<u8>),
    /// There is no such file, or it is a link to nothing.
    Gone,
    /// It changed under the reader.
    Moving,
    /// It can't be read; why, what that means, and what to do.
    Refused(String),
}

/// Reads a file; the stamp is that of the file before it was read.
pub fn read(path: &Path) -> (Option<Stamp>, Bytes) {
    let stamp = fs::metadata(path).ok().as_ref().map(Stamp::of);
    let bytes = match open_and_read(path, stamp) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Bytes::Gone,
        Err(error) => {
            Bytes::Refused(format!("can't be read ({error}): {STAYS}; allow this user to read it"))
        }
    };
    (stamp, bytes)
}

fn open_and_read(path: &Path, stamp: Option<Stamp>) -> io::Result<Bytes> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer.
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Bytes::Refused(
            "is no file and is ignored: only files of the folder itself are read; move it".into(),
        ));
    }
    let size = metadata.len();
    if size > MAX_BYTES {
        return Ok(Bytes::Refused(format!(
            "has {size} bytes, more than {MAX_BYTES}: {STAYS}; split it"
        )));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    Read::by_ref(&mut file).take(MAX_BYTES).read_to_end(&mut bytes)?;
    let same = stamp == Some(Stamp::of(&file.metadata()?));
    Ok(if same { Bytes::Whole(bytes) } else { Bytes::Moving })
}
