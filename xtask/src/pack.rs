//! Archives that are the same bytes for the same files, and what bytes are called by their contents.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// A file of an archive; its folders need not be named.
#[derive(Clone, Debug)]
pub struct File {
    /// From the root, without the slash at the beginning.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl File {
    /// A file that everybody may read.
    pub fn plain(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, bytes: bytes.into() }
    }

    /// A file that everybody may run.
    pub fn program(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o755, bytes: bytes.into() }
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar archive: files in order, of the same owner and time, whatever they were.
pub fn tar(files: &[File]) -> Result<Vec<u8>> {
    let by_path: BTreeMap<&str, &File> = files.iter().map(|f| (f.path.as_str(), f)).collect();
    let folders: BTreeSet<&str> = by_path
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]))
        .collect();
    let mut builder = tar::Builder::new(Vec::new());
    for folder in folders {
        append(&mut builder, &format!("{folder}/"), 0o755, tar::EntryType::Directory, &[])?;
    }
    for (path, file) in by_path {
        append(&mut builder, path, file.mode, tar::EntryType::Regular, &file.bytes)?;
    }
    builder.into_inner().context("ending an archive")
}

fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    kind: tar::EntryType,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, path, bytes).with_context(|| format!("packing {path}"))
}

/// The same, compressed.
pub fn tar_gz(files: &[File]) -> Result<Vec<u8>> {
    gzip(&tar(files)?)
}

/// Compresses by gzip, without a name and a time.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = tempfile::NamedTempFile::new().context("making a temporary file")?;
    plain.write_all(bytes).context("writing what is to be compressed")?;
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--no-name", "--stdout"]).arg(plain.path()).stdin(Stdio::null());
    let output = gzip.output().context("starting gzip: is it installed?")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "gzip: {} {error}", output.status);
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_archive_is_the_same_each_time() {
        let files = [File::plain("a/b", "text"), File::program("a/c", "program")];
        let first = tar_gz(&files).unwrap();
        assert_eq!(first, tar_gz(&files).unwrap());
        // No flags, no time.
        assert_eq!(first[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    }
}
