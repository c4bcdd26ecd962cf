//! Keeps what [`load`](super::load) put in place: notices what somebody detached, replaced or
//! unpinned, and puts it back.
//!
//! The guard holds every link and map open. So a pin that is removed takes nothing away while the
//! agent runs: it is made again. A link that was detached can't be revived: a new one is made.

use std::{
    error::Error,
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
    damage::{Broken, Change, Mended, Object},
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
#[derive(Debug, Default)]
pub struct Look {
    /// What was wrong and is right again.
    pub mended: Vec<Mended>,
    /// What is wrong, with the reason why it can't be mended, or not yet.
    pub broken: Vec<Broken>,
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
            look.note(self.attached(at));
            let Link { name, object, .. } = &mut self.links[at];
            if pinnable.is_ok() {
                look.note(object.look(Object::Link(name), link_id));
            }
        }
        match pinnable {
            Ok(()) => {
                for Map { name, object } in &mut self.maps {
                    look.note(object.look(Object::Map(name), map_id));
                }
            }
            Err(why) => look.broken.push(why),
        }
        look
    }

    /// Whether there is a place for pins, which may have been unmounted.
    fn pinnable(&mut self) -> Result<(), Broken> {
        let folder = self.pins.folder();
        if !bpffs::mounted_at(folder) {
            return Err(Broken::Unmounted(folder.to_owned()));
        }
        pin::create_folders(&self.pins)?;
        Ok(self.lock.keep()?)
    }

    /// Whether a program is attached to the cgroup, and is the one that was loaded.
    fn attached(&mut self, at: usize) -> Found {
        let Link { name, object, program } = &self.links[at];
        let (name, program) = (*name, *program);
        let this = Object::Program(name);
        let held = link::read_fd(&object.object).map_err(|error| unseen(this, error))?;
        if held.cgroup == 0 {
            let mut attach = || -> Result<Pinned, KernelError> {
                let target = Target::open(&self.cgroup)?;
                attach::attach(&mut self.ebpf, name, &self.pins, &target)?;
                Pinned::open(self.pins.link(name), link_id)
            };
            self.links[at].object =
                attach().map_err(|error| lost(this, Change::Detached, error))?;
            return Ok(Some(Mended { object: this, change: Change::Detached }));
        }
        if held.program != program {
            let change = Change::Replaced;
            let fd = attach::fd(&mut self.ebpf, name).map_err(|error| lost(this, change, error))?;
            bpf::update_link(&self.links[at].object.object, fd)
                .map_err(|error| lost(this, change, error))?;
            return Ok(Some(Mended { object: this, change }));
        }
        Ok(None)
    }
}

/// What was mended, if anything was to be.
type Found = Result<Option<Mended>, Broken>;

fn unseen(object: Object, error: impl Error + Send + Sync + 'static) -> Broken {
    Broken::Unseen { object, source: Box::new(error) }
}

fn lost(object: Object, change: Change, error: impl Error + Send + Sync + 'static) -> Broken {
    Broken::Lost { object, change, source: Box::new(error) }
}

impl Look {
    fn note(&mut self, found: Found) {
        match found {
            Ok(mended) => self.mended.extend(mended),
            Err(broken) => self.broken.push(broken),
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
    fn look(&mut self, this: Object, id: Identify) -> Found {
        let file = pin_file(&self.pin);
        if file.is_some() && file == self.file {
            return Ok(None);
        }
        let change = match bpf::open(&self.pin).and_then(|found| id(&found)) {
            Ok(found) if found == self.id => {
                self.file = file;
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Change::Removed,
            _ => Change::Misled,
        };
        self.file = None;
        let again = || {
            match fs::remove_file(&self.pin) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            bpf::pin(&self.object, &self.pin)
        };
        again().map_err(|error| lost(this, change, error))?;
        Ok(Some(Mended { object: this, change }))
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
