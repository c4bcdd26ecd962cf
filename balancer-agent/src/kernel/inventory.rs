//! What is pinned, as the kernel describes it: programs with their size and how often they ran, maps with
//! their size and fill.

use std::{fs, io, path::Path};

use serde::Serialize;

use crate::{
    bpf::{self, Tag},
    kernel::link,
    maps::pins::Pins,
    node::bpffs,
};

/// A program behind a pinned link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramFacts {
    /// Name of the pin.
    pub name: String,
    /// The kernel's identifier.
    pub id: u32,
    /// The kernel's hash of the instructions.
    pub tag: String,
    /// Instructions that the verifier has followed; 0 before Linux 5.16.
    pub verified_instructions: u32,
    /// Bytes of the program, as the kernel has rewritten it.
    pub translated_bytes: u32,
    /// Bytes of machine code; 0 where it is interpreted.
    pub jited_bytes: u32,
    /// How often it ran while `kernel.bpf_stats_enabled` was 1.
    pub runs: u64,
    /// Nanoseconds that these runs took.
    pub run_time_ns: u64,
}

/// A pinned map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapFacts {
    /// Name of the pin.
    pub name: String,
    /// The kernel's identifier.
    pub id: u32,
    /// Its type, `BPF_MAP_TYPE_...`, as a number.
    pub kind: u32,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Entries that there is room for.
    pub max_entries: u32,
    /// Keys that are there: of an array all, and of maps that can't be listed none is known.
    pub entries: Option<u32>,
    /// Bytes of kernel memory; absent where the kernel does not tell.
    pub memory_bytes: Option<u64>,
}

/// The programs behind the pinned links, by name; what can't be read is left out.
pub fn programs(pins: &Pins) -> Vec<ProgramFacts> {
    let found = names(&pins.links()).into_iter();
    found.filter_map(|name| program(&pins.link(&name), name).ok()).collect()
}

/// What the kernel says of the program behind a pinned link.
fn program(pin: &Path, name: String) -> io::Result<ProgramFacts> {
    let id = link::read_pin(pin)?.ok_or(io::ErrorKind::NotFound)?.program;
    let info = bpf::program_info(id)?;
    Ok(ProgramFacts {
        name,
        id,
        tag: Tag(info.tag).to_string(),
        verified_instructions: info.verified_insns,
        translated_bytes: info.xlated_prog_len,
        jited_bytes: info.jited_prog_len,
        runs: info.run_cnt,
        run_time_ns: info.run_time_ns,
    })
}

/// The pinned maps, by name; what can't be read is left out.
pub fn maps(pins: &Pins) -> Vec<MapFacts> {
    let found = names(&pins.map("")).into_iter();
    found.filter_map(|name| map(&pins.map(&name), name).ok()).collect()
}

fn map(pin: &Path, name: String) -> io::Result<MapFacts> {
    let map = bpf::open(pin)?;
    let info = bpf::map_info(&map)?;
    Ok(MapFacts {
        name,
        id: info.id,
        kind: info.type_,
        key_bytes: info.key_size,
        value_bytes: info.value_size,
        max_entries: info.max_entries,
        // What is stored in sockets has room as long as there are sockets, and can't be listed.
        entries: (info.max_entries > 0)
            .then(|| bpf::count_keys(&map, info.key_size, info.max_entries).ok())
            .flatten(),
        memory_bytes: bpffs::memory(pin),
    })
}

/// Names of what a folder holds, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
