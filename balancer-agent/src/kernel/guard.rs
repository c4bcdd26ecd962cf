//! Keeps what [`load`](super::load) put in place: notices what somebody detached, replaced or
//! unpinned, and puts it back.
//!
//! The guard holds every link and map open. So a pin that is removed takes nothing away while the
//! agent runs: it is made again. A link that was detached can't be revived: a new one is made.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use aya::Ebpf;

use super::{
    KernelError,
    attach::{self, Target},
    link::{self, PROGRAMS},
    lock::Lock,
    pin,
};
use crate::{
    bpf,
    maps::pins::{MAPS, Pins},
    node::bpffs,
};

/// What was found on one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What was wrong and is right again.
    pub mended: Vec<String>,
    /// What is wrong, with the reason why it can't be mended, or not yet.
    pub broken: Vec<String>,
}

/// Programs, links and maps as they should be.
pub struct Guard {
    ebpf: Ebpf,
    pins: Pins,
    cgroup: PathBuf,
    links: Vec<Link>,
    maps: Vec<Map>,
    lock: Lock,
}

struct Link {
    name: &'static str,
    object: Pinned,
    program: u32,
}

struct Map {
    name: &'static str,
    object: Pinned,
}

/// An object that is held open, and where it is pinned.
struct Pinned {
    object: OwnedFd,
    /// What the kernel knows it by.
    id: u32,
    pin: PathBuf,
    /// The file of the pin as it was when it led to the object.
    file: Option<PinFile>,
}

/// What differs wherever a pin is made again: its file system and inode, and when that changed.
type PinFile = (u64, u64, i64, i64);

impl Guard {
    /// Takes over what was just put in place.
    pub(super) fn new(
        mut ebpf: Ebpf,
        pins: Pins,
        cgroup: &Path,
        lock: Lock,
    ) -> Result<Self, KernelError> {
        let mut links = Vec::new();
        for name in PROGRAMS {
            let object = Pinned::open(pins.link(name), link_id)?;
            let id = attach::fd(&mut ebpf, name)
                .map_err(io::Error::other)
                .and_then(|program| bpf::program_id(program.as_fd()));
            let program =
                id.map_err(|source| KernelError::Pin { path: pins.link(name), source })?;
            links.push(Link { name, object, program });
        }
        let mut maps = Vec::new();
        for name in MAPS {
            maps.push(Map { name, object: Pinned::open(pins.map(name), map_id)? });
        }
        Ok(Self { ebpf, pins, cgroup: cgroup.into(), links, maps, lock })
    }

    /// Where the programs should be attached.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Looks at everything once, and mends what it can.
    pub fn look(&mut self) -> Look {
        let mut look = Look::default();
        let pinnable = self.pinnable();
        for at in 0..self.links.len() {
            let name = self.links[at].name;
            look.note(|| format!("program {name}"), self.attached(at));
            if pinnable.is_ok() {
                let found = self.links[at].object.look(link_id);
                look.note(|| format!("the pin of link {name}"), found);
            }
        }
        match pinnable {
            Ok(()) => {
                for Map { name, object } in &mut self.maps {
                    look.note(|| format!("the pin of map {name}"), object.look(map_id));
                }
            }
            Err(why) => look.broken.push(why),
        }
        look
    }

    /// Whether there is a place for pins, which may have been unmounted.
    fn pinnable(&mut self) -> Result<(), String> {
        let folder = self.pins.folder();
        if !bpffs::mounted_at(folder) {
            return Err(format!(
                "{} is on no BPF file system any more: mount it again, else balancing ends with \
                 the agent",
                folder.display()
            ));
        }
        pin::create_folders(&self.pins)
            .and_then(|()| self.lock.keep())
            .map_err(|error| error.to_string())
    }

    /// Whether a program is attached to the cgroup, and is the one that was loaded.
    fn attached(&mut self, at: usize) -> Result<Option<&'static str>, String> {
        let Link { name, object, program } = &self.links[at];
        let (name, program) = (*name, *program);
        let held = link::read_fd(&object.object)
            .map_err(|error| format!("can't be looked at: {error}"))?;
        if held.cgroup == 0 {
            let target = Target::open(&self.cgroup)
                .map_err(|error| format!("is detached, and can't be attached again: {error}"))?;
            attach::attach(&mut self.ebpf, name, &self.pins, &target)
                .map_err(|error| format!("is detached, and can't be attached again: {error}"))?;
            self.links[at].object = Pinned::open(self.pins.link(name), link_id)
                .map_err(|error| format!("can't be looked at: {error}"))?;
            return Ok(Some("was detached"));
        }
        if held.program != program {
            let fd = attach::fd(&mut self.ebpf, name).map_err(|error| error.to_string())?;
            bpf::update_link(&self.links[at].object.object, fd)
                .map_err(|error| format!("was replaced, and can't be put back: {error}"))?;
            return Ok(Some("was replaced by another"));
        }
        Ok(None)
    }
}

impl Look {
    fn note(&mut self, object: impl Fn() -> String, found: Result<Option<&str>, String>) {
        match found {
            Ok(None) => {}
            Ok(Some(what)) => self.mended.push(format!("{} {what}", object())),
            Err(why) => self.broken.push(format!("{} {why}", object())),
        }
    }
}

impl Pinned {
    fn open(pin: PathBuf, id: Identify) -> Result<Self, KernelError> {
        let open = || {
            let object = bpf::open(&pin)?;
            Ok((id(&object)?, object))
        };
        match open() {
            Ok((id, object)) => Ok(Self { object, id, pin, file: None }),
            Err(source) => Err(KernelError::Pin { path: pin, source }),
        }
    }

    /// Whether the pin leads to the object; else it is made again. What else may be there is no
    /// business of anybody below this folder. As long as its file is the same the kernel is not
    /// asked.
    fn look(&mut self, id: Identify) -> Result<Option<&'static str>, String> {
        let file = pin_file(&self.pin);
        if file.is_some() && file == self.file {
            return Ok(None);
        }
        let what = match bpf::open(&self.pin).and_then(|found| id(&found)) {
            Ok(found) if found == self.id => {
                self.file = file;
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed",
            _ => "led to something else",
        };
        self.file = None;
        let again = || {
            match fs::remove_file(&self.pin) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            bpf::pin(&self.object, &self.pin)
        };
        again().map_err(|error| format!("{what}, and can't be made again: {error}"))?;
        Ok(Some(what))
    }
}

/// Asks the kernel what it knows an object by.
type Identify = fn(&OwnedFd) -> io::Result<u32>;

fn map_id(map: &OwnedFd) -> io::Result<u32> {
    bpf::map_id(map)
}

fn link_id(link: &OwnedFd) -> io::Result<u32> {
    bpf::link_id(link)
}

fn pin_file(pin: &Path) -> Option<PinFile> {
    let file = fs::symlink_metadata(pin).ok()?;
    Some((file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
}
