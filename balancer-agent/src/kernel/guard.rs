//! Keeps what [`load`](super::load) put in place: notices what somebody detached, replaced or
//! unpinned, and puts it back.
//!
//! The guard holds every link and map open. So a pin that is removed takes nothing away while the
//! agent runs: it is made again. A link that was detached can't be revived: a new one is made.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use aya::Ebpf;

use super::{
    KernelError,
    attach::{self, Target},
    bpf,
    link::{self, PROGRAMS},
    lock::Lock,
    pins::{MAPS, Pins},
};
use crate::node::bpffs;

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
    link: OwnedFd,
    program: u32,
}

struct Map {
    name: &'static str,
    map: OwnedFd,
}

impl Guard {
    /// Takes over what was just put in place.
    pub(super) fn new(
        mut ebpf: Ebpf,
        pins: Pins,
        cgroup: &Path,
        lock: Lock,
    ) -> Result<Self, KernelError> {
        let opened = |path: PathBuf| {
            bpf::open(&path).map_err(|source| KernelError::Pin { path: path.clone(), source })
        };
        let mut links = Vec::new();
        for name in PROGRAMS {
            let link = opened(pins.link(name))?;
            let id = attach::fd(&mut ebpf, name)
                .map_err(io::Error::other)
                .and_then(|program| bpf::program_id(program.as_fd()));
            let program =
                id.map_err(|source| KernelError::Pin { path: pins.link(name), source })?;
            links.push(Link { name, link, program });
        }
        let mut maps = Vec::new();
        for name in MAPS {
            maps.push(Map { name, map: opened(pins.map(name))? });
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
            look.note(&format!("program {name}"), self.attached(at));
            if pinnable.is_ok() {
                look.note(&format!("the pin of link {name}"), self.link_pinned(at));
            }
        }
        match pinnable {
            Ok(()) => {
                for map in &self.maps {
                    look.note(&format!("the pin of map {}", map.name), self.map_pinned(map));
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
        self.pins.create().and_then(|()| self.lock.keep()).map_err(|error| error.to_string())
    }

    /// Whether a program is attached to the cgroup, and is the one that was loaded.
    fn attached(&mut self, at: usize) -> Result<Option<&'static str>, String> {
        let Link { name, link, program } = &self.links[at];
        let (name, program) = (*name, *program);
        let held = link::read_fd(link).map_err(|error| format!("can't be looked at: {error}"))?;
        if held.cgroup == 0 {
            let target = Target::open(&self.cgroup)
                .map_err(|error| format!("is detached, and can't be attached again: {error}"))?;
            attach::attach(&mut self.ebpf, name, &self.pins, &target)
                .map_err(|error| format!("is detached, and can't be attached again: {error}"))?;
            let pin = self.pins.link(name);
            self.links[at].link = bpf::open(&pin)
                .map_err(|error| format!("can't be looked at: {}: {error}", pin.display()))?;
            return Ok(Some("was detached"));
        }
        if held.program != program {
            let fd = attach::fd(&mut self.ebpf, name).map_err(|error| error.to_string())?;
            bpf::update_link(&self.links[at].link, fd)
                .map_err(|error| format!("was replaced, and can't be put back: {error}"))?;
            return Ok(Some("was replaced by another"));
        }
        Ok(None)
    }

    fn link_pinned(&self, at: usize) -> Result<Option<&'static str>, String> {
        let Link { name, link, .. } = &self.links[at];
        pinned(&self.pins.link(name), link, bpf::link_id(link), |link| bpf::link_id(link))
    }

    fn map_pinned(&self, Map { name, map }: &Map) -> Result<Option<&'static str>, String> {
        pinned(&self.pins.map(name), map, bpf::map_id(map), |map| bpf::map_id(map))
    }
}

impl Look {
    fn note(&mut self, object: &str, found: Result<Option<&str>, String>) {
        match found {
            Ok(None) => {}
            Ok(Some(what)) => self.mended.push(format!("{object} {what}")),
            Err(why) => self.broken.push(format!("{object} {why}")),
        }
    }
}

/// Whether a pin leads to an object of this identifier; else it is made again. What else may be
/// there is no business of anybody below this folder.
fn pinned(
    pin: &Path,
    object: &OwnedFd,
    wanted: io::Result<u32>,
    id: impl Fn(&OwnedFd) -> io::Result<u32>,
) -> Result<Option<&'static str>, String> {
    let wanted = wanted.map_err(|error| format!("can't be checked: {error}"))?;
    let what = match bpf::open(pin).and_then(|found| id(&found)) {
        Ok(found) if found == wanted => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed",
        _ => "led to something else",
    };
    let again = || {
        match fs::remove_file(pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        bpf::pin(object, pin)
    };
    again().map_err(|error| format!("{what}, and can't be made again: {error}"))?;
    Ok(Some(what))
}
