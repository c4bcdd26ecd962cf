//! The programs for connections from outside, on the devices that lead out of the node.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::{Ebpf, programs::Program};
use aya_obj::generated::bpf_attach_type::{self, BPF_TCX_EGRESS, BPF_TCX_INGRESS};

use super::{KernelError, device::Spot};
use crate::{bpf, maps::pins::Pins};

/// What the names of the pins of their links begin with; the index of the device follows.
pub const LINKS: &str = "outside_";

/// Each program, and where it is attached on a device.
pub const PROGRAMS: [(&str, bpf_attach_type); 2] =
    [("outside_out", BPF_TCX_EGRESS), ("outside_in", BPF_TCX_INGRESS)];

/// The programs, loaded.
#[derive(Debug)]
pub struct OutsidePrograms {
    /// What sees ends before what begins connections.
    programs: Vec<Loaded>,
    pins: Pins,
}

/// A program that the kernel has verified.
#[derive(Debug)]
struct Loaded {
    name: &'static str,
    side: bpf_attach_type,
    fd: OwnedFd,
    /// What the kernel knows it by.
    id: u32,
}

impl OutsidePrograms {
    /// Has the kernel verify them.
    pub(super) fn load(ebpf: &mut Ebpf, pins: Pins) -> Result<Self, KernelError> {
        let mut programs = Vec::new();
        for (name, side) in PROGRAMS {
            let refused = |source: aya::programs::ProgramError| KernelError::Program {
                program: name,
                source: source.into(),
            };
            let program = ebpf.program_mut(&format!("balancer_{name}"));
            let Some(Program::SchedClassifier(program)) = program else {
                return Err(refused(aya::programs::ProgramError::UnexpectedProgramType));
            };
            program.load().map_err(refused)?;
            let program = program.fd().map_err(refused)?.as_fd();
            let held = || Ok((bpf::program_id(program)?, program.try_clone_to_owned()?));
            let held = held().map_err(|source| KernelError::Pin { path: pins.link(name), source });
            let (id, fd) = held?;
            programs.push(Loaded { name, side, fd, id });
        }
        Ok(Self { programs, pins })
    }

    /// Attaches the programs to a device, or replaces those that are there in one step.
    pub fn attach(&self, device: u32) -> io::Result<()> {
        let links = self.pins.links();
        self.programs.iter().try_for_each(|Loaded { name, side, fd, .. }| {
            Spot::new(&links, name, *side, device).attach(fd)
        })
    }

    /// True while both programs are on a device, and their pins there.
    pub fn are_on(&self, device: u32) -> bool {
        let links = self.pins.links();
        self.programs.iter().all(|Loaded { name, side, id, .. }| {
            let found = Spot::new(&links, name, *side, device).program();
            found.is_ok_and(|found| found == Some(*id))
        })
    }

    /// Devices with pins of ours.
    pub fn devices(&self) -> io::Result<BTreeSet<u32>> {
        devices(&self.pins)
    }

    /// Takes the programs off a device.
    pub fn detach(&self, device: u32) -> Result<(), KernelError> {
        detach(&self.pins.links(), device).map(drop)
    }
}

/// Takes the programs off a device by the folder of their pins. Says how many there were.
pub(super) fn detach(links: &Path, device: u32) -> Result<usize, KernelError> {
    let mut removed = 0;
    // No connection begins that nobody would see the end of.
    for (name, side) in PROGRAMS.into_iter().rev() {
        removed += usize::from(Spot::new(links, name, side, device).detach()?);
    }
    Ok(removed)
}

/// Devices that the programs are pinned for, by their numbers.
pub fn devices(pins: &Pins) -> io::Result<BTreeSet<u32>> {
    devices_in(&pins.links())
}

/// The same by the folder of the pins.
pub(super) fn devices_in(links: &Path) -> io::Result<BTreeSet<u32>> {
    let mut devices = BTreeSet::new();
    for entry in fs::read_dir(links)? {
        let name = entry?.file_name();
        let of = name.to_str().filter(|name| name.starts_with(LINKS));
        devices.extend(of.and_then(|name| name.rsplit('_').next()?.parse::<u32>().ok()));
    }
    Ok(devices)
}
