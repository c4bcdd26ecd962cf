//! The programs for connections from outside, on the devices that lead out of the node, each through a
//! pinned link (tcx, Linux 6.6) that keeps it there without any process.
#![allow(unsafe_code, reason = "a union of the kernel's is read")]

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{Ebpf, programs::Program};
use aya_obj::generated::{
    bpf_attach_type::{self, BPF_TCX_EGRESS, BPF_TCX_INGRESS},
    bpf_link_info,
};

use super::{KernelError, link};
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

impl Loaded {
    /// The name of the pin of its link on a device.
    fn pin(&self, device: u32) -> String {
        format!("{}_{device}", self.name)
    }
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
        for program in &self.programs {
            let pin = self.pins.link(&program.pin(device));
            if let Ok(link) = bpf::open(&pin) {
                // A link of a device that is gone leads nowhere, and its number may be another one's.
                if device_of(&bpf::link_info(&link)?) == device {
                    bpf::update_link(&link, &program.fd)?;
                    continue;
                }
                fs::remove_file(&pin)?;
            }
            bpf::pin(bpf::link_to_device(&program.fd, device, program.side)?, &pin)?;
        }
        Ok(())
    }

    /// True while both programs are on a device, each behind its pinned link.
    pub fn are_on(&self, device: u32) -> bool {
        self.programs.iter().all(|program| {
            let held = || {
                let info = bpf::link_info(bpf::open(&self.pins.link(&program.pin(device)))?)?;
                Ok::<_, io::Error>((info.prog_id, device_of(&info)))
            };
            held().is_ok_and(|held| held == (program.id, device))
        })
    }

    /// Devices with pins of ours.
    pub fn devices(&self) -> io::Result<BTreeSet<u32>> {
        devices(&self.pins)
    }

    /// Takes the programs off a device.
    pub fn detach(&self, device: u32) -> Result<(), KernelError> {
        // No connection begins that nobody would see the end of.
        for program in self.programs.iter().rev() {
            link::remove(self.pins.link(&program.pin(device)))?;
        }
        Ok(())
    }
}

/// Devices that the programs are pinned for, by their numbers.
pub fn devices(pins: &Pins) -> io::Result<BTreeSet<u32>> {
    let mut devices = BTreeSet::new();
    for entry in fs::read_dir(pins.folder().join("links"))? {
        let name = entry?.file_name();
        let of = name.to_str().filter(|name| name.starts_with(LINKS));
        devices.extend(of.and_then(|name| name.rsplit('_').next()?.parse::<u32>().ok()));
    }
    Ok(devices)
}

/// The device of a link; 0 where it is gone, or the program was taken off.
fn device_of(info: &bpf_link_info) -> u32 {
    // SAFETY: these links are of type tcx, whose member of the union this is; as integers, the bytes
    // are valid in any case.
    unsafe { info.__bindgen_anon_1.tcx.ifindex }
}
