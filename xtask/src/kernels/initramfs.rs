//! What the kernel unpacks into memory: an archive of cpio's "new ASCII" form.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};

use super::{
    archive::Kernel,
    guest::{self, Job},
    modules,
    payload::Payload,
    series::{Promise, Series},
};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

/// Writes the archive for one kernel, and returns its size.
pub fn write(path: &Path, kernel: &Kernel, payload: &Payload, series: &Series) -> Result<u64> {
    let modules = modules::needed(&kernel.modules)?;
    let jobs: &[Job] = match series.promise {
        Promise::Works => &payload.tests,
        Promise::Refused => &payload.refusal,
    };
    let describe = || format!("writing {}", path.display());
    let file = File::create(path).with_context(describe)?;
    let mut cpio = Cpio::new(BufWriter::new(file));
    let mut pack = || -> std::io::Result<()> {
        // The kernel opens it for the first process.
        cpio.entry("dev/console", DEVICE, (5, 1), &[])?;
        for folder in guest::FOLDERS {
            cpio.folders(folder)?;
        }
        for (link, to) in &payload.links {
            cpio.folders(link.rsplit_once('/').map_or("", |(folder, _)| folder))?;
            cpio.entry(link, LINK, (0, 0), to.as_bytes())?;
        }
        for file in &payload.files {
            cpio.program(&file.path, &file.bytes)?;
        }
        for (number, module) in modules.iter().enumerate() {
            let name = format!("{}/{number:02}-{}.ko", guest::MODULES, module.name);
            cpio.program(&name, &module.bytes)?;
        }
        cpio.program(guest::JOBS, serde_json::to_string(jobs)?.as_bytes())
    };
    pack().with_context(describe)?;
    cpio.end().with_context(describe)
}

/// A writer of entries.
struct Cpio<W> {
    out: W,
    size: u64,
    folders: BTreeSet<String>,
}

impl<W: Write> Cpio<W> {
    fn new(out: W) -> Self {
        Self { out, size: 0, folders: BTreeSet::new() }
    }

    fn program(&mut self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folders(folder)?;
        }
        self.entry(path, PROGRAM, (0, 0), bytes)
    }

    /// A folder and those it stands in, each once.
    fn folders(&mut self, path: &str) -> std::io::Result<()> {
        if path.is_empty() || !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folders(above)?;
        }
        self.entry(path, FOLDER, (0, 0), &[])
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        (major, minor): (u32, u32),
        bytes: &[u8],
    ) -> std::io::Result<()> {
        let (name_length, length) = (path.len() + 1, bytes.len());
        // Magic, inode, mode, user, group, links, time, size, device, device of a node, length of
        // the name, checksum.
        let head = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{length:08x}{:08x}{:08x}{major:08x}\
             {minor:08x}{name_length:08x}{:08x}",
            0, 0, 0, 1, 0, 0, 0, 0
        );
        self.put(head.as_bytes())?;
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.align()?;
        self.put(bytes)?;
        self.align()
    }

    /// Ends the archive, and returns its size.
    fn end(mut self) -> std::io::Result<u64> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.size)
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.size += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn align(&mut self) -> std::io::Result<()> {
        let padding = self.size.next_multiple_of(4) - self.size;
        self.put(&[0; 4][..padding as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_where_the_kernel_looks_for_them() {
        let mut bytes = Vec::new();
        let mut cpio = Cpio::new(&mut bytes);
        cpio.program("usr/bin/ip", b"12345").unwrap();
        cpio.program("usr/bin/sh", b"").unwrap();
        let size = cpio.end().unwrap();
        assert_eq!(size, bytes.len() as u64);
        let mut names = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let head = std::str::from_utf8(&bytes[at..at + 110]).unwrap();
            assert!(head.starts_with("070701"), "{head} at {at}");
            let number = |from: usize| usize::from_str_radix(&head[from..from + 8], 16).unwrap();
            let (length, name_length) = (number(54), number(94));
            let name = &bytes[at + 110..at + 110 + name_length - 1];
            names.push(String::from_utf8(name.to_vec()).unwrap());
            at = (at + 110 + name_length).next_multiple_of(4) + length.next_multiple_of(4);
        }
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/ip", "usr/bin/sh", "TRAILER!!!"]);
    }
}
